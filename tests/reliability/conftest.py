"""Houses of processes and of servers in this process; two sizes of the whole list."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from interactvlm.v1 import contact_service_pb2_grpc
from services.orchestrator.config import BalancingConfig, MeshConfig, OrchestratorConfig, PredictConfig, StageConfig
from services.orchestrator.service import ContactService
from services.runtime.config import ServerConfig
from services.runtime.server import Server, Service
from tests.reliability.load import make_photo
from tests.reliability.processes import House
from tests.reliability.rooms import Build, Open, Room, Size
from tests.reliability.stub_stage import StubConfig, StubMvloc, StubVlm


@pytest.fixture(scope="session")
def size() -> Size:
    full = os.environ.get("INTERACTVLM_RELIABILITY") == "full"
    return (
        Size(rounds=5, replaced=2, calls=200, fuzzed=5000) if full else Size(rounds=1, replaced=1, calls=15, fuzzed=300)
    )


@pytest.fixture(scope="session")
def photo() -> bytes:
    return make_photo()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Two replicas of each stage behind two orchestrators, all processes; every test leaves it whole."""
    planned = House.plan(tmp_path_factory.mktemp("house"), replicas=2, orchestrators=2)
    try:
        await planned.start()
        yield planned
    finally:
        await asyncio.to_thread(planned.reap)


@pytest_asyncio.fixture(loop_scope="session")
async def open_contact() -> AsyncIterator[Open]:
    """`open_contact("127.0.0.1:PORT")`: a stub on a connection of its own, closed with the test."""
    channels: list[grpc.aio.Channel] = []

    def make(target: str, credentials: grpc.ChannelCredentials | None = None) -> Any:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        if credentials is None:
            channels.append(grpc.aio.insecure_channel(target, options))
        else:
            channels.append(grpc.aio.secure_channel(target, credentials, options))
        return contact_service_pb2_grpc.ContactServiceStub(channels[-1])

    yield make
    for channel in channels:
        await channel.close()


@pytest_asyncio.fixture(loop_scope="session")
async def build_room(open_contact: Open, tmp_path: Path) -> AsyncIterator[Build]:
    """`await build_room(vlm={...}, mvloc={...}, predict={...}, server={...}, stage_server={...}, balancing={...})`; the
    tables override defaults."""
    started: list[Server] = []

    async def serve(service: Service, config: ServerConfig) -> Server:
        server = Server([service], config)
        started.append(server)
        await server.start()
        return server

    async def build(
        *,
        vlm: dict[str, Any] | None = None,
        mvloc: dict[str, Any] | None = None,
        predict: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        stage_server: dict[str, Any] | None = None,
        balancing: dict[str, Any] | None = None,
    ) -> Room:
        language = StubVlm(StubConfig(stage="vlm", **(vlm or {})))
        localization = StubMvloc(StubConfig(stage="mvloc", **(mvloc or {})))
        private = ServerConfig(**(stage_server or {}))
        stages = {"vlm": await serve(language, private), "mvloc": await serve(localization, private)}
        public = ServerConfig(**(server or {}))
        service = ContactService(
            OrchestratorConfig(
                server=public,
                vlm=StageConfig((f"127.0.0.1:{stages['vlm'].port}",)),
                mvloc=StageConfig((f"127.0.0.1:{stages['mvloc'].port}",)),
                balancing=BalancingConfig(**{"wait_seconds": 5, "hedge_ratio": 0.0, **(balancing or {})}),
                predict=PredictConfig(**(predict or {})),
                meshes=MeshConfig(folder=str(tmp_path / "meshes")),
            )
        )
        orchestrator = await serve(service, public)
        return Room(language, localization, stages, orchestrator, open_contact(f"127.0.0.1:{orchestrator.port}"))

    yield build
    for server in reversed(started):
        await server.stop(grace=0)
