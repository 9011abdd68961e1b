from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from interactvlm.errors import InteractVLMError, MeshError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.v1 import contact_service_pb2
from services.orchestrator.mesh_store import MeshStore
from services.orchestrator.uploads import MeshReader
from services.runtime.errors import MeshNotFound, QueueFull, QuotaExceeded

TRIANGLE = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], dtype=np.int32))
POINTS = PointCloud(np.eye(3, dtype=np.float32))
Chunk = contact_service_pb2.UploadMeshRequest


def store(folder: Path, **changes: float) -> MeshStore:
    return MeshStore(folder, **{"ttl_seconds": 60.0, "max_bytes_per_owner": 10_000, "memory_bytes": 1_000, **changes})


async def test_what_is_kept_comes_back_in_another_process(tmp_path: Path) -> None:
    first = store(tmp_path)
    for surface in (TRIANGLE, POINTS):
        await first.put("alice", surface)
        for reader in (first, store(tmp_path)):
            found = await reader.get("alice", surface.content_hash)
            assert type(found) is type(surface)
            assert found.content_hash == surface.content_hash
        with pytest.raises(MeshNotFound):
            await first.get("bob", surface.content_hash)


async def test_deleting_erases_for_everybody(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path)
    await first.put("alice", TRIANGLE)
    await second.get("alice", TRIANGLE.content_hash)
    await first.delete("alice", TRIANGLE.content_hash)
    assert not list(tmp_path.rglob("*.npz"))
    for reader in (first, second):  # also what the other one holds in memory
        with pytest.raises(MeshNotFound):
            await reader.get("alice", TRIANGLE.content_hash)
    with pytest.raises(MeshNotFound):
        await first.delete("alice", TRIANGLE.content_hash)


async def test_what_nobody_used_is_forgotten(tmp_path: Path) -> None:
    meshes = store(tmp_path)
    await meshes.put("alice", TRIANGLE)
    (file,) = tmp_path.rglob("*.npz")
    os.utime(file, (0, time.time() - 59))
    await meshes.get("alice", TRIANGLE.content_hash)  # which renews it
    assert file.stat().st_mtime > time.time() - 30
    os.utime(file, (0, time.time() - 61))
    with pytest.raises(MeshNotFound):
        await meshes.get("alice", TRIANGLE.content_hash)
    leftover = file.with_name(".new-crashed")
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    meshes._sweep()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_an_owner_has_a_limit(tmp_path: Path) -> None:
    meshes = store(tmp_path, max_bytes_per_owner=1_000)
    await meshes.put("alice", POINTS)
    large = PointCloud(np.ones((80, 3), dtype=np.float32))
    with pytest.raises(QuotaExceeded, match="limit of 1000"):
        await meshes.put("alice", large)
    await meshes.put("bob", large)


async def test_memory_is_bounded(tmp_path: Path) -> None:
    meshes = store(tmp_path, memory_bytes=100)
    for scale in range(1, 6):
        await meshes.put("alice", PointCloud(POINTS.xyz * scale))
        assert meshes._held_bytes <= 100
    assert (await meshes.get("alice", POINTS.content_hash)).content_hash == POINTS.content_hash


async def test_a_damaged_file_is_an_error_without_its_path(tmp_path: Path) -> None:
    meshes = store(tmp_path)
    await meshes.put("alice", TRIANGLE)
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(b"PK damaged")
    with pytest.raises(InteractVLMError, match="cannot be read") as caught:
        await store(tmp_path).get("alice", TRIANGLE.content_hash)
    assert str(tmp_path) not in str(caught.value)


async def chunks(*messages: Chunk) -> AsyncIterator[Chunk]:
    for message in messages:
        yield message


OBJ = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
CLOUD = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"


async def test_uploads_become_meshes_or_points() -> None:
    reader = MeshReader()
    mesh = await reader.read(chunks(Chunk(file_type="obj", chunk=OBJ[:9]), Chunk(chunk=OBJ[9:])), owner="alice")
    assert isinstance(mesh, Mesh)
    assert mesh.faces.tolist() == [[0, 1, 2]]
    points = await reader.read(chunks(Chunk(file_type="PLY", chunk=CLOUD + b"0 0 0\n1 2 3\n")), owner="alice")
    assert isinstance(points, PointCloud)
    rows = await reader.read(chunks(Chunk(file_type="xyz", chunk=b"0 0 0\n1 2 3\n")), owner="alice")
    assert rows.content_hash == points.content_hash
    reader.close()


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "is empty"),
        ([Chunk(file_type="exe", chunk=b"x")], "file_type: is 'exe'"),
        ([Chunk(chunk=b"x")], "file_type: is ''"),
        ([Chunk(file_type="obj"), Chunk(file_type="obj")], "later message"),
        ([Chunk(file_type="obj", chunk=b"x" * (2**20 + 1))], "chunk: has"),
        ([Chunk(file_type="obj", chunk=b"\n" * 2**20)] + [Chunk(chunk=b"\n" * 2**20)] * 64, "larger than the limit"),
        ([Chunk(file_type="obj", chunk=b"v 0 0 nan\n")], "mesh"),
        ([Chunk(file_type="glb", chunk=b"glTF")], "mesh"),
    ],
)
async def test_bad_uploads_are_refused(messages: list[Chunk], problem: str) -> None:
    reader = MeshReader()
    with pytest.raises(MeshError, match=problem):
        await reader.read(chunks(*messages), owner="alice")
    reader.close()


async def test_uploads_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.orchestrator.uploads._MAX_UPLOADS", 0)
    reader = MeshReader()
    with pytest.raises(QueueFull):
        await reader.read(chunks(Chunk(file_type="obj", chunk=OBJ)), owner="alice")
    reader.close()
