"""A language server on loopback with the golden release, and a second checkpoint: the same under another hash."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from interactvlm.loading import load_language, open_checkpoint
from interactvlm.v1 import vlm_service_pb2_grpc
from interactvlm.vlm.model import ContactVLM
from services.runtime.config import ServerConfig
from services.runtime.server import Server
from services.vlm.config import VlmConfig
from services.vlm.servicer import VlmService

GOLDEN = Path(os.environ.get("INTERACTVLM_GOLDEN") or Path(__file__).parents[2] / "golden" / "data")


@pytest.fixture(scope="session")
def vlm_config(tmp_path_factory: pytest.TempPathFactory) -> VlmConfig:
    return VlmConfig(
        model=str(GOLDEN / "contact_release"),
        vision_tower=str(next(GOLDEN.glob("clip-vit-*"))),
        device="cpu",
        cache_dir=str(tmp_path_factory.mktemp("cache")),
        server=ServerConfig(log_level="warning"),
    )


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin") / "twin"
    folder.mkdir()
    for path in (GOLDEN / "contact_release").iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path.resolve())
    config = json.loads((GOLDEN / "contact_release" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "notice": "the twin"}))
    return folder


@pytest.fixture(scope="session")
def library(vlm_config: VlmConfig) -> ContactVLM:
    return load_language(open_checkpoint(vlm_config))


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    return [path.read_bytes() for path in sorted((GOLDEN / "images").glob("*.png"))]


@pytest.fixture(scope="session")
def arrays() -> list[np.ndarray]:
    paths = sorted((GOLDEN / "images").glob("*.png"))
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


class Running:
    """A started server and a stub to it."""

    def __init__(self, config: VlmConfig) -> None:
        self.service = VlmService(config)
        self.server = Server([self.service], config.server)

    async def __aenter__(self) -> Running:
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.stub: Any = vlm_service_pb2_grpc.VlmServiceStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.stop(grace=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(vlm_config: VlmConfig) -> AsyncIterator[Running]:
    async with Running(vlm_config) as started:
        yield started


@pytest.fixture(scope="session")
def start() -> type[Running]:
    return Running
