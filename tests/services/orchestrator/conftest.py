"""Stage servers that do as they are told, on the real chassis and real loopback connections."""

from __future__ import annotations

import asyncio
import io
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from interactvlm.body.template import BodyTemplate
from interactvlm.types import ContactAnswer, ModelIdentity, VertexContact
from interactvlm.v1 import (
    contact_service_pb2_grpc,
    mvloc_service_pb2,
    mvloc_service_pb2_grpc,
    types_pb2,
    vlm_service_pb2,
    vlm_service_pb2_grpc,
)
from interactvlm.wire import (
    decode_image,
    decode_surface,
    encode_answer,
    encode_body,
    encode_contact,
    encode_identity,
)
from services.orchestrator.config import (
    BalancingConfig,
    MeshConfig,
    OrchestratorConfig,
    PredictConfig,
    ReplayConfig,
    StageConfig,
)
from services.orchestrator.service import BatchService, ContactService
from services.runtime.calls import Call, current_call
from services.runtime.errors import CheckpointNotLive, MeshMissing
from services.runtime.server import Server

CHECKPOINT, CANARY = "a" * 64, "b" * 64
BODY = BodyTemplate(
    topology="anny",
    vertices=np.eye(4, 3, dtype=np.float32),
    faces=np.array([[0, 1, 2], [1, 2, 3]], dtype=np.int32),
    part_index=np.array([0, 0, 1, 1], dtype=np.uint8),
)


class Stage:
    """What both fakes do: count, wait, fail on demand."""

    def __init__(self) -> None:
        self.checkpoints = [CHECKPOINT]
        self.calls: Counter[str] = Counter()
        self.seen: list[Call] = []
        self.delay = 0.0
        self.error: Exception | None = None
        self.running = 0
        self.most_running = 0
        self.cancelled = 0

    async def load(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}

    async def act(self, method: str) -> None:
        self.calls[method] += 1
        self.seen.append(current_call())
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error

    async def GetModelInfo(
        self, request: vlm_service_pb2.GetModelInfoRequest, context: Any
    ) -> vlm_service_pb2.ModelInfo:
        return vlm_service_pb2.ModelInfo(
            models=[
                vlm_service_pb2.LiveModel(
                    model=encode_identity(ModelIdentity("fake", sha256)),
                    weight=1 / len(self.checkpoints),
                    tasks=[types_pb2.TASK_BINARY],
                    body_topology=BODY.topology,
                    body_vertex_count=BODY.vertex_count,
                )
                for sha256 in self.checkpoints
            ],
            device="cpu",
        )

    def check(self, sha256: str) -> None:
        if sha256 not in self.checkpoints:
            raise CheckpointNotLive(f"checkpoint_sha256: {sha256} is not live")


class FakeVlm(Stage):
    name = "interactvlm.v1.VlmService"

    def __init__(self) -> None:
        super().__init__()
        self.images: list[np.ndarray] = []

    def register(self, server: grpc.aio.Server) -> None:
        vlm_service_pb2_grpc.add_VlmServiceServicer_to_server(self, server)

    async def Answer(self, request: vlm_service_pb2.AnswerRequest, context: Any) -> vlm_service_pb2.AnswerResponse:
        await self.act("Answer")
        sha256 = request.checkpoint_sha256 or self.checkpoints[0]
        self.check(sha256)
        self.images.append(decode_image(request))
        return vlm_service_pb2.AnswerResponse(
            answers=[
                encode_answer(
                    ContactAnswer("none", None, None, 0.5)
                    if question.object_name == "nothing"
                    else ContactAnswer("[SEG]", np.ones(256, np.float32), "[SEG]", 1.0, parts=("torso",))
                )
                for question in request.questions
            ],
            model=encode_identity(ModelIdentity("fake", sha256)),
        )


class FakeMvloc(Stage):
    name = "interactvlm.v1.MvlocService"

    def __init__(self) -> None:
        super().__init__()
        self.meshes: dict[tuple[str, str], int] = {}
        self.broken: set[str] = set()

    def register(self, server: grpc.aio.Server) -> None:
        mvloc_service_pb2_grpc.add_MvlocServiceServicer_to_server(self, server)

    async def LocateBody(
        self, request: mvloc_service_pb2.LocateBodyRequest, context: Any
    ) -> mvloc_service_pb2.LocateResponse:
        await self.act("LocateBody")
        self.check(request.checkpoint_sha256)
        probabilities = np.array([0.9, 0.8, 0.2, 0.1], dtype=np.float32)
        return self._response(len(request.queries), probabilities)

    async def LocateObject(
        self, request: mvloc_service_pb2.LocateObjectRequest, context: Any
    ) -> mvloc_service_pb2.LocateResponse:
        await self.act("LocateObject")
        self.check(request.checkpoint_sha256)
        count = self.meshes.get((current_call().owner, request.mesh_sha256))
        if count is None:
            raise MeshMissing("mesh_sha256: is not held here")
        if request.mesh_sha256 in self.broken:
            raise ValueError("the mesh's own trouble")
        return self._response(len(request.queries), np.full(count, 0.7, dtype=np.float32))

    async def PutMesh(
        self, request: mvloc_service_pb2.PutMeshRequest, context: Any
    ) -> mvloc_service_pb2.PutMeshResponse:
        await self.act("PutMesh")
        surface = decode_surface(request)
        self.meshes[current_call().owner, surface.content_hash] = request.vertices.shape[0]
        return mvloc_service_pb2.PutMeshResponse()

    async def GetCheckpointBody(
        self, request: mvloc_service_pb2.GetCheckpointBodyRequest, context: Any
    ) -> types_pb2.Body:
        await self.act("GetCheckpointBody")
        return encode_body(BODY)

    def _response(self, queries: int, probabilities: np.ndarray) -> mvloc_service_pb2.LocateResponse:
        return mvloc_service_pb2.LocateResponse(
            contacts=[encode_contact(VertexContact(probabilities)) for _ in range(queries)],
            model=encode_identity(ModelIdentity("fake", CHECKPOINT)),
        )


@pytest.fixture
def fake_vlm() -> type[FakeVlm]:
    return FakeVlm


@pytest.fixture
def fake_mvloc() -> type[FakeMvloc]:
    return FakeMvloc


@pytest.fixture
def small_body() -> BodyTemplate:
    return BODY


class House:
    """An orchestrator over fake stages; `contact` is a client's stub."""

    def __init__(self, vlm: list[FakeVlm], mvloc: list[FakeMvloc]) -> None:
        self.vlm = vlm
        self.mvloc = mvloc
        self.servers: dict[Stage, Server] = {}
        self.orchestrator: Server
        self.service: ContactService
        self.contact: contact_service_pb2_grpc.ContactServiceAsyncStub
        self.channel: grpc.aio.Channel


Build = Callable[..., Awaitable[House]]


@pytest.fixture
def build_house(
    start_server: Callable[..., Awaitable[Server]], connect: Callable[..., grpc.aio.Channel], tmp_path: Path
) -> Build:
    """`await build_house(vlm=2, mvloc=1, balancing=..., predict=..., server={...})`."""
    logging.getLogger("services.orchestrator").setLevel(logging.ERROR)

    async def build(
        *,
        vlm: int = 1,
        mvloc: int = 1,
        balancing: BalancingConfig | None = None,
        predict: PredictConfig | None = None,
        replay: ReplayConfig | None = None,
        server: Mapping[str, Any] | None = None,
    ) -> House:
        house = House([FakeVlm() for _ in range(vlm)], [FakeMvloc() for _ in range(mvloc)])
        for stage in (*house.vlm, *house.mvloc):
            house.servers[stage] = await start_server(stage)
        targets = {
            kind: tuple(f"127.0.0.1:{house.servers[stage].port}" for stage in stages)
            for kind, stages in (("vlm", house.vlm), ("mvloc", house.mvloc))
        }
        house.service = ContactService(
            OrchestratorConfig(
                vlm=StageConfig(targets["vlm"]),
                mvloc=StageConfig(targets["mvloc"]),
                balancing=balancing or BalancingConfig(probe_seconds=0.5, hedge_ratio=0.0),
                predict=predict or PredictConfig(),
                meshes=MeshConfig(folder=str(tmp_path / "meshes")),
                replay=replay or ReplayConfig(),
            )
        )
        house.orchestrator = await start_server(house.service, BatchService(), **(server or {}))
        house.channel = connect(house.orchestrator)
        house.contact = contact_service_pb2_grpc.ContactServiceStub(house.channel)
        return house

    return build


@pytest.fixture(scope="session")
def png() -> bytes:
    """A photo of 48 x 32 pixels."""
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
