"""Real stage servers behind the orchestrator answer as the in-process pipeline does, on the recorded joint release."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from safetensors import safe_open

from interactvlm.client import AsyncClient, Endpoint
from interactvlm.config import Settings
from interactvlm.geometry.load import load_mesh
from interactvlm.geometry.mesh import Mesh
from interactvlm.local import load_pipeline
from interactvlm.photo import load_photo
from interactvlm.pipeline import ObjectQuery, Pipeline
from interactvlm.types import Prediction, Task, WholePhoto
from services.mvloc.config import MvlocConfig
from services.mvloc.servicer import MvlocService
from services.orchestrator.config import MeshConfig, OrchestratorConfig, StageConfig
from services.orchestrator.service import ContactService
from services.runtime.config import ServerConfig
from services.runtime.server import Server, Service
from services.vlm.config import VlmConfig
from services.vlm.servicer import VlmService

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOLDEN = Path(os.environ.get("INTERACTVLM_GOLDEN") or Path(__file__).parents[1] / "golden" / "data")


def _joint(folder: Path) -> Path:
    """The joint release with the mask model that it shares with the contact release."""
    folder.mkdir()
    for path in (GOLDEN / "joint_release").iterdir():
        if path.name != "model.safetensors":
            (folder / path.name).symlink_to(path.resolve())
    (folder / "own.safetensors").symlink_to((GOLDEN / "joint_release" / "model.safetensors").resolve())
    with safe_open(folder / "own.safetensors", framework="numpy") as shard:
        shards = dict.fromkeys(shard.keys(), "own.safetensors")
    contact = GOLDEN / "contact_release"
    for name, file in json.loads((contact / "model.safetensors.index.json").read_text())["weight_map"].items():
        if name.startswith("model.visual_model."):
            shards[name] = file
            if not (folder / file).exists():
                (folder / file).symlink_to((contact / file).resolve())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    return folder


def _body_file(path: Path) -> Path:
    """A body file of the published layout with the recorded mesh in it."""
    mesh = np.load(GOLDEN / "body" / "mesh.npz")
    count, joints = len(mesh["vertices"]), 52
    weights = np.zeros((count, joints))
    weights[np.arange(count), np.arange(count) % joints] = 1
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


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("release")
    return Settings(
        model=str(_joint(folder / "joint")),
        vision_tower=str(next(GOLDEN.glob("clip-vit-*"))),
        body=str(_body_file(folder / "SMPLH_NEUTRAL.npz")),
        device="cpu",
        cache_dir=str(folder / "cache"),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncClient]:
    async with AsyncExitStack() as stack:

        async def start(*services: Service) -> int:
            server = Server(services, ServerConfig(log_level="warning"))
            stack.push_async_callback(server.stop, grace=0)
            await server.start()
            return server.port

        ports = [
            await start(kind(config(**asdict(settings))))  # type: ignore[arg-type, call-arg]
            for kind, config in ((VlmService, VlmConfig), (MvlocService, MvlocConfig))
        ]
        vlm, mvloc = (StageConfig((f"127.0.0.1:{port}",)) for port in ports)
        meshes = MeshConfig(folder=str(tmp_path_factory.mktemp("meshes")))
        port = await start(ContactService(OrchestratorConfig(vlm=vlm, mvloc=mvloc, meshes=meshes)))
        yield await stack.enter_async_context(AsyncClient(Endpoint(f"127.0.0.1:{port}")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def in_process(settings: Settings) -> AsyncIterator[Pipeline]:
    pipeline, close = await asyncio.to_thread(load_pipeline, settings)
    yield pipeline
    close()


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return load_mesh(GOLDEN / "object_mesh" / "object_mesh.obj", file_type="obj")


def assert_same(ours: Prediction, reference: Prediction) -> None:
    assert (ours.model, ours.photo_sha256, ours.region) == (reference.model, reference.photo_sha256, reference.region)
    assert len(ours.results) == len(reference.results)
    for one, other in zip(ours.results, reference.results, strict=True):
        assert (one.task, one.object_name, one.surface) == (other.task, other.object_name, other.surface)
        assert (one.text, one.contact_token, one.parts_named) == (other.text, other.contact_token, other.parts_named)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
        sure = np.abs(other.probabilities - other.threshold) > 1e-5
        touched, wanted = (r.probabilities >= r.threshold for r in (one, other))
        assert np.array_equal(touched[sure], wanted[sure])


async def test_photos_answer_as_in_process(client: AsyncClient, in_process: Pipeline) -> None:
    paths = sorted((GOLDEN / "images").glob("*.png"))
    for path in paths:
        reference = await in_process.predict(load_photo(path), person=WholePhoto())
        ours = await client.predict(path, person=WholePhoto())
        assert_same(ours, reference)


async def test_a_mesh_answers_as_in_process(client: AsyncClient, in_process: Pipeline, mesh: Mesh) -> None:
    path = sorted((GOLDEN / "images").glob("*.png"))[0]
    asked = {
        "objects": [ObjectQuery("bicycle", mesh), ObjectQuery("chair")],
        "tasks": [Task.SEMANTIC, Task.OBJECT],  # not asked before: cached answers come from batches of another size
        "person": WholePhoto(),
    }
    reference = await in_process.predict(load_photo(path), **asked)
    assert_same(await client.predict(path, **asked), reference)
