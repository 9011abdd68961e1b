"""Load on the public API, and the record of how every single call ended."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType

import grpc
import numpy as np
from PIL import Image

from interactvlm.client.errors import ServerError, from_call
from interactvlm.errors import DeadlineExceededError
from interactvlm.v1 import contact_service_pb2, types_pb2
from tests.reliability.processes import PATIENCE

__all__ = ["WHOLE", "Load", "Request", "make_photo", "request"]

Request = contact_service_pb2.PredictRequest
WHOLE = types_pb2.PersonSelector(whole_photo=True)
#: A call that ends so long after its deadline hangs; the machine may be busy with other things.
_LATENESS = 5.0
#: How a call may end when servers die, freeze or drown: all of them tell the caller to come back, none is a fault.
_CLEAN = frozenset({"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})


def make_photo(seed: int = 0) -> bytes:
    """A photo of 48 x 32 pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def request(photo: bytes, **fields: object) -> Request:
    """A request that needs both stages and no person detector."""
    return Request(photo=photo, person=WHOLE, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: code, reason ("" where the client itself gave up), seconds it took, what was said."""

    code: str
    reason: str
    seconds: float
    message: str


@dataclass
class Load:
    """`async with Load(call, deadline=8): ...` keeps `workers` calls in flight all the time.

    Args:
        call: makes one call and raises what the client raises.
        deadline: that `call` states, seconds.
        workers: calls at the same time.
    """

    call: Callable[[], Awaitable[object]]
    deadline: float
    workers: int = 6
    ended: list[Ended] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self.workers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        _, hanging = await asyncio.wait(self._tasks, timeout=self.deadline + _LATENESS)
        for task in hanging:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        if error is None:
            assert not hanging, f"{len(hanging)} calls hang"
            for result in results:
                if result is not None:
                    raise result
            self.assert_clean()

    @property
    def codes(self) -> Counter[str]:
        """How often which code, or code and reason, ended a call."""
        return Counter(f"{one.code} {one.reason}".strip() for one in self.ended)

    async def until(self, code: str, count: int) -> None:
        """Wait for `count` more calls to end like this."""
        begin, give_up = len(self.ended), time.monotonic() + PATIENCE
        while sum(one.code == code for one in self.ended[begin:]) < count:
            assert time.monotonic() < give_up, f"waited in vain for {count} times {code}: {self.codes}"
            assert not any(task.done() for task in self._tasks), "a worker broke down"
            await asyncio.sleep(0.02)

    async def until_failing(self, count: int) -> None:
        """Wait for `count` more calls to fail."""
        begin, give_up = len(self.ended), time.monotonic() + PATIENCE
        while sum(one.code != "OK" for one in self.ended[begin:]) < count:
            assert time.monotonic() < give_up, f"waited in vain for {count} failures: {self.codes}"
            await asyncio.sleep(0.02)

    def assert_clean(self) -> None:
        """Every call ended in time, as an answer or as a refusal that says when or why."""
        assert {one.code for one in self.ended} <= _CLEAN, self.codes
        slowest = max((one.seconds for one in self.ended), default=0.0)
        assert slowest <= self.deadline + _LATENESS, f"a call took {slowest:.1f} s of {self.deadline:.1f}"
        untyped = [one for one in self.ended if one.code not in ("OK", "DEADLINE_EXCEEDED") and not one.reason]
        assert not untyped, untyped[0]

    async def _work(self) -> None:
        while not self._stopping:
            began = time.monotonic()
            code, reason, message = "OK", "", ""
            try:
                await self.call()
            except grpc.aio.AioRpcError as error:
                code, reason, message = error.code().name, _reason(error), error.details() or ""
            except ServerError as error:
                code, reason, message = error.code, error.reason, str(error)
            except DeadlineExceededError:
                code = "DEADLINE_EXCEEDED"
            self.ended.append(Ended(code, reason, time.monotonic() - began, message))
            await asyncio.sleep(0.005 if code == "OK" else 0.05)


def _reason(error: grpc.aio.AioRpcError) -> str:
    found = from_call(error, "")
    return found.reason if isinstance(found, ServerError) else ""
