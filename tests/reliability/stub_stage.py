"""A stage of fixed latency on the real chassis: batcher, device thread, deadlines and drain are real, the model is not.

    python -m tests.reliability.stub_stage --stage vlm --server.port 50061

An object called "poison" fails its whole batch. POST /admin/slow {"seconds": 1} changes the latency, /admin/counts
tells what was computed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from interactvlm.body.template import BodyTemplate
from interactvlm.stages import CallContext
from interactvlm.types import ContactAnswer, ModelIdentity, VertexContact
from interactvlm.v1 import (
    mvloc_service_pb2,
    mvloc_service_pb2_grpc,
    types_pb2,
    vlm_service_pb2,
    vlm_service_pb2_grpc,
)
from interactvlm.wire import decode_image, decode_surface, encode_answer, encode_body, encode_contact, encode_identity
from services.runtime.batching import Batcher, BatchLimits
from services.runtime.calls import Call, current_call
from services.runtime.config import ServerConfig
from services.runtime.device import DeviceWorker
from services.runtime.errors import CheckpointNotLive, MeshMissing
from services.runtime.process import run

__all__ = ["CHECKPOINT", "POISON", "StubConfig", "StubMvloc", "StubVlm", "make_stage"]

CHECKPOINT = "a" * 64
POISON = "poison"
_BODY = BodyTemplate(
    topology="anny",
    vertices=np.eye(4, 3, dtype=np.float32),
    faces=np.array([[0, 1, 2], [1, 2, 3]], dtype=np.int32),
    part_index=np.array([0, 0, 1, 1], dtype=np.uint8),
)


@dataclass(frozen=True, slots=True)
class StubConfig:
    """What a stub runs with.

    Attributes:
        server: of the chassis.
        stage: "vlm" or "mvloc".
        batch_seconds: time of a batch, however large.
        batch: limits of the batcher.
        checkpoint: the one that is live.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    stage: str = "vlm"
    checkpoint: str = CHECKPOINT
    batch_seconds: float = 0.01
    batch: BatchLimits = field(default_factory=BatchLimits)


@dataclass(frozen=True, slots=True)
class _Item:
    names: tuple[str, ...]
    context: CallContext


class _Stage:
    """What both stubs share: the engine, its counts, the operator's commands."""

    def __init__(self, config: StubConfig) -> None:
        self._config = config
        self.batch_seconds = config.batch_seconds
        self.identity = ModelIdentity("stub", config.checkpoint)
        self.failure: Exception | None = None
        """What the engine finds wrong with itself."""
        self.counts = {"started": 0, "expired_started": 0, "batches": 0, "largest_batch": 0}

    async def load(self) -> None:
        self._worker = DeviceWorker(self._config.stage)
        self._batcher: Batcher[_Item, int] = Batcher(
            self._compute,
            cost=lambda item: 1.0,
            limits=self._config.batch,
            worker=self._worker,
            name=self._config.stage,
        )

    async def close(self) -> None:
        await self._batcher.drain()
        self._worker.close()

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if command == "slow":
            self.batch_seconds = float(arguments["seconds"])
        return self.counts

    @property
    def pending(self) -> int:
        return self._batcher.pending

    async def compute(self, names: Sequence[str], call: Call) -> None:
        await self._batcher.submit(_Item(tuple(names), call.context), call)

    def _compute(self, items: list[_Item]) -> list[int]:
        self.counts["batches"] += 1
        self.counts["largest_batch"] = max(self.counts["largest_batch"], len(items))
        self.counts["started"] += len(items)
        now = time.monotonic()
        self.counts["expired_started"] += sum((item.context.deadline or now + 1) <= now for item in items)
        time.sleep(self.batch_seconds)
        if self.failure is not None:
            raise self.failure
        if any(POISON in item.names for item in items):
            raise ValueError("a poisonous item")
        return [0] * len(items)

    def _info(self) -> vlm_service_pb2.ModelInfo:
        live = vlm_service_pb2.LiveModel(
            model=encode_identity(self.identity),
            weight=1.0,
            tasks=[types_pb2.TASK_BINARY, types_pb2.TASK_SEMANTIC, types_pb2.TASK_OBJECT],
            body_topology=_BODY.topology,
            body_vertex_count=_BODY.vertex_count,
        )
        return vlm_service_pb2.ModelInfo(models=[live], device="cpu")


class StubVlm(_Stage):
    """Every question is answered with one contact token."""

    name = "interactvlm.v1.VlmService"

    def register(self, server: grpc.aio.Server) -> None:
        vlm_service_pb2_grpc.add_VlmServiceServicer_to_server(self, server)

    async def Answer(self, request: vlm_service_pb2.AnswerRequest, context: Any) -> vlm_service_pb2.AnswerResponse:
        if request.checkpoint_sha256 not in ("", self.identity.checkpoint_hash):
            raise CheckpointNotLive(f"checkpoint_sha256: {request.checkpoint_sha256} is not live here")
        decode_image(request)
        await self.compute([question.object_name for question in request.questions], current_call())
        answer = ContactAnswer("[SEG]", np.ones(256, np.float32), "[SEG]", 1.0)
        return vlm_service_pb2.AnswerResponse(
            answers=[encode_answer(answer) for _ in request.questions], model=encode_identity(self.identity)
        )

    async def GetModelInfo(
        self, request: vlm_service_pb2.GetModelInfoRequest, context: Any
    ) -> vlm_service_pb2.ModelInfo:
        return self._info()


class StubMvloc(_Stage):
    """Half of the body is touched, and all of every object."""

    name = "interactvlm.v1.MvlocService"

    def __init__(self, config: StubConfig) -> None:
        super().__init__(config)
        self.meshes: dict[tuple[str, str], int] = {}

    def register(self, server: grpc.aio.Server) -> None:
        mvloc_service_pb2_grpc.add_MvlocServiceServicer_to_server(self, server)

    async def LocateBody(
        self, request: mvloc_service_pb2.LocateBodyRequest, context: Any
    ) -> mvloc_service_pb2.LocateResponse:
        await self.compute((), current_call())
        return self._placed(len(request.queries), np.array([0.9, 0.8, 0.2, 0.1], dtype=np.float32))

    async def LocateObject(
        self, request: mvloc_service_pb2.LocateObjectRequest, context: Any
    ) -> mvloc_service_pb2.LocateResponse:
        call = current_call()
        count = self.meshes.get((call.owner, request.mesh_sha256))
        if count is None:
            raise MeshMissing("mesh_sha256: is not held here")
        await self.compute((), call)
        return self._placed(len(request.queries), np.full(count, 0.7, dtype=np.float32))

    async def PutMesh(
        self, request: mvloc_service_pb2.PutMeshRequest, context: Any
    ) -> mvloc_service_pb2.PutMeshResponse:
        self.meshes[current_call().owner, decode_surface(request).content_hash] = request.vertices.shape[0]
        return mvloc_service_pb2.PutMeshResponse()

    async def GetCheckpointBody(
        self, request: mvloc_service_pb2.GetCheckpointBodyRequest, context: Any
    ) -> types_pb2.Body:
        return encode_body(_BODY)

    async def GetModelInfo(
        self, request: vlm_service_pb2.GetModelInfoRequest, context: Any
    ) -> vlm_service_pb2.ModelInfo:
        return self._info()

    def _placed(self, queries: int, probabilities: Any) -> mvloc_service_pb2.LocateResponse:
        return mvloc_service_pb2.LocateResponse(
            contacts=[encode_contact(VertexContact(probabilities)) for _ in range(queries)],
            model=encode_identity(self.identity),
        )


_KINDS: dict[str, Callable[[StubConfig], StubVlm | StubMvloc]] = {"vlm": StubVlm, "mvloc": StubMvloc}


def make_stage(config: StubConfig) -> list[StubVlm | StubMvloc]:
    return [_KINDS[config.stage](config)]


if __name__ == "__main__":
    sys.exit(run(StubConfig, make_stage, sys.argv[1:]))
