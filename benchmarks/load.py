"""The load of benchmarks that go through the orchestrator: prepared requests, a closed loop, what was spent where."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from PIL import Image

from benchmarks.stage_servers import Deployment
from interactvlm.v1 import contact_service_pb2, types_pb2

__all__ = ["Measured", "closed_loop", "connect", "machine", "photo", "request"]

_PREDICT = "/interactvlm.v1.ContactService/Predict"


def photo(width: int = 320, height: int = 240, *, seed: int = 7) -> bytes:
    """A JPEG with structure (noise would be larger than any photograph)."""
    dice = np.random.default_rng(seed)
    coarse = dice.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def request(encoded: bytes) -> contact_service_pb2.PredictRequest:
    """One binary question about the whole photo, under a new request id as every client of ours sends it."""
    return contact_service_pb2.PredictRequest(
        request_id=str(uuid.uuid4()),
        photo=encoded,
        person=types_pb2.PersonSelector(whole_photo=True),
        tasks=[types_pb2.TASK_BINARY],
    )


def connect(deployed: Deployment) -> grpc.aio.Channel:
    """A channel to the orchestrator."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{deployed.orchestrator.port}")


@dataclass(frozen=True)
class Measured:
    """A closed loop's outcome.

    Attributes:
        photos: answered.
        seconds: wall time.
        cpu_ms_per_photo: processor time by process, see `Deployment.cpu_seconds`.
    """

    photos: int
    seconds: float
    cpu_ms_per_photo: dict[str, float]

    @property
    def rate(self) -> float:
        """Photos a second."""
        return self.photos / self.seconds


async def closed_loop(
    deployed: Deployment, channel: grpc.aio.Channel, photos: Iterable[bytes], *, count: int, in_flight: int
) -> Measured:
    """Ask about photos, `in_flight` at any time, and time `count` answers from the middle of it.

    `in_flight` answers go before the clock starts and as many calls are open when it stops: neither the start nor the
    end, when some replicas have nothing left, counts. Takes `count` + 2 `in_flight` photos. Every answer must be one;
    they are not parsed here but for the first, because the generator shares the cores with the servers.
    """
    call: Any = channel.unary_unary(_PREDICT, request_serializer=contact_service_pb2.PredictRequest.SerializeToString)
    left = itertools.islice(photos, count + 2 * in_flight)
    stamps: list[tuple[float, dict[str, float]]] = []
    answered = 0

    async def caller() -> None:
        nonlocal answered
        for encoded in left:
            answer = await call(request(encoded), timeout=120)
            answered += 1
            if answered == 1:
                _check(answer)
            if answered in (in_flight, in_flight + count):
                stamps.append((time.perf_counter(), deployed.cpu_seconds()))

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    (began, before), (ended, after) = stamps
    each = {name: round((after[name] - before[name]) * 1000 / count, 3) for name in after}
    return Measured(count, ended - began, each)


def _check(answer: bytes) -> None:
    response = contact_service_pb2.PredictResponse.FromString(answer)
    if len(response.results) != 1 or response.results[0].HasField("error"):
        raise RuntimeError(f"the orchestrator answered {response}")


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and what else was running there."""
    return {"cores": os.cpu_count(), "load_average": [round(load, 2) for load in os.getloadavg()]}
