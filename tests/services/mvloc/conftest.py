"""A localization server on loopback: the golden joint release (both heads), a body file around the golden mesh."""

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
from safetensors import safe_open

from interactvlm.geometry.load import load_mesh
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.loading import load_localizer, open_checkpoint
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.v1 import mvloc_service_pb2_grpc
from services.mvloc.config import MvlocConfig
from services.mvloc.servicer import MvlocService
from services.runtime.config import ServerConfig
from services.runtime.server import Server

GOLDEN = Path(os.environ.get("INTERACTVLM_GOLDEN") or Path(__file__).parents[2] / "golden" / "data")


@pytest.fixture(scope="session")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The joint release with the mask model that it shares with the contact release."""
    folder = tmp_path_factory.mktemp("releases") / "joint"
    folder.mkdir()
    for path in (GOLDEN / "joint_release").iterdir():
        if path.name != "model.safetensors":
            (folder / path.name).symlink_to(path.resolve())
    (folder / "own.safetensors").symlink_to((GOLDEN / "joint_release" / "model.safetensors").resolve())
    with safe_open(folder / "own.safetensors", framework="numpy") as shard:
        shards = dict.fromkeys(shard.keys(), "own.safetensors")
    contact = GOLDEN / "contact_release"
    index = json.loads((contact / "model.safetensors.index.json").read_text())["weight_map"]
    for name, file in index.items():
        if name.startswith("model.visual_model."):
            shards[name] = file
            if not (folder / file).exists():
                (folder / file).symlink_to((contact / file).resolve())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    return folder


@pytest.fixture(scope="session")
def body_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A body file of the published layout with the golden mesh in it."""
    mesh = np.load(GOLDEN / "body" / "mesh.npz")
    count, joints = len(mesh["vertices"]), 52
    weights = np.zeros((count, joints))
    weights[np.arange(count), np.arange(count) % joints] = 1
    path = tmp_path_factory.mktemp("body") / "SMPLH_NEUTRAL.npz"
    np.savez(
        path,
        v_template=mesh["vertices"].astype(np.float64),
        f=mesh["faces"].astype(np.uint32),
        weights=weights,
        shapedirs=np.zeros((count, 3, 10)),
        posedirs=np.zeros((count, 3, (joints - 1) * 9)),
        J_regressor=np.full((joints, count), 1 / count),
        kintree_table=np.stack([np.maximum(np.arange(joints) - 1, 0), np.arange(joints)]).astype(np.int64),
    )
    return path


@pytest.fixture(scope="session")
def mvloc_config(joint: Path, body_file: Path, tmp_path_factory: pytest.TempPathFactory) -> MvlocConfig:
    return MvlocConfig(
        model=str(joint),
        body=str(body_file),
        device="cpu",
        cache_dir=str(tmp_path_factory.mktemp("cache")),
        server=ServerConfig(log_level="warning"),
    )


@pytest.fixture(scope="session")
def library(mvloc_config: MvlocConfig) -> ContactLocalizer:
    localizer, _ = load_localizer(open_checkpoint(mvloc_config))
    return localizer


@pytest.fixture(scope="session")
def mesh() -> Mesh:
    return load_mesh(GOLDEN / "object_mesh" / "object_mesh.obj", file_type="obj")


@pytest.fixture(scope="session")
def points() -> PointCloud:
    return PointCloud(np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32))


class Running:
    """A started server and a stub to it."""

    def __init__(self, config: MvlocConfig) -> None:
        self.service = MvlocService(config)
        self.server = Server([self.service], config.server)

    async def __aenter__(self) -> Running:
        await self.server.start()
        options = [("grpc.max_receive_message_length", 64 * 2**20)]
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}", options=options)
        self.stub: Any = mvloc_service_pb2_grpc.MvlocServiceStub(self.channel)
        (self.model,) = [model for model, _ in self.service.engine.models.weights()]
        self.sha256 = self.model.identity.checkpoint_hash
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.stop(grace=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(mvloc_config: MvlocConfig) -> AsyncIterator[Running]:
    async with Running(mvloc_config) as started:
        yield started


@pytest.fixture(scope="session")
def start() -> type[Running]:
    return Running
