"""A table on disk behind the service: adding, removing, owners, newer snapshots; with a small encoder of shapes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
import trimesh
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from interactvlm.errors import CheckpointError
from interactvlm.retrieval import shape_encoder
from interactvlm.retrieval.additions import add_meshes
from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.shape_embedding import ShapeEmbedder
from interactvlm.retrieval.vector_table import VectorTable
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.v1 import retrieval_service_pb2_grpc
from interactvlm.wire import to_tensor
from services.retrieval.__main__ import make
from services.retrieval.config import RetrievalConfig
from services.runtime.config import ServerConfig
from services.runtime.server import Server

SMALL = shape_encoder.ShapeEncoderConfig(
    width=16, depth=1, heads=2, head_width=8, mlp_width=24, group_width=12, groups=20, group_size=8, embedding=10
)
ALICE, BOB = [("interactvlm-owner", "alice")], [("interactvlm-owner", "bob")]


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> shape_encoder.ShapeEncoder:
    torch.manual_seed(0)
    small = shape_encoder.ShapeEncoder(config=SMALL).eval()
    monkeypatch.setattr(shape_encoder, "load_shape_encoder", lambda folder, device="cpu": small)
    return small


def glb(*sides: float) -> bytes:
    return bytes(trimesh.creation.box(sides).export(file_type="glb"))


@pytest.fixture
def table(tmp_path: Path, encoder: shape_encoder.ShapeEncoder) -> Path:
    """One shared plank."""
    (tmp_path / "plank.glb").write_bytes(glb(2, 0.1, 0.2))
    add_meshes([tmp_path / "plank.glb"], tmp_path / "table", ShapeEmbedder(encoder), category="bench")
    return tmp_path / "table"


class Running:
    def __init__(self, config: RetrievalConfig) -> None:
        self.services = make(config)
        self.server = Server(self.services, config.server)

    async def __aenter__(self) -> Running:
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.stub: Any = retrieval_service_pb2_grpc.RetrievalServiceStub(self.channel)
        self.admin: Any = retrieval_service_pb2_grpc.RetrievalAdminServiceStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.stop(grace=0)

    async def add(self, content: bytes, *, metadata: Any = None, **entry: Any) -> pb.AddMeshResponse:
        return await self.admin.AddMesh(iter(pieces(content, **entry)), metadata=metadata)

    async def find(self, content: bytes, *, metadata: Any = None) -> dict[str, pb.SearchHit]:
        request = pb.SearchRequest(mesh=pb.MeshFile(file_type="glb", content=content))
        response = await self.stub.Search(request, metadata=metadata)
        return {hit.name: hit for hit in response.hits}

    async def download(self, sha256: str, *, metadata: Any = None) -> bytes:
        call = self.stub.DownloadMesh(pb.DownloadMeshRequest(mesh_sha256=sha256), metadata=metadata)
        return b"".join([piece.chunk async for piece in call])


def pieces(content: bytes, size: int = 500, **entry: Any) -> Iterator[pb.AddMeshRequest]:
    for start in range(0, max(len(content), 1), size):
        described = {"file_type": "glb", **entry} if not start else None
        yield pb.AddMeshRequest(entry=described, chunk=content[start : start + size])


def reason(error: grpc.aio.AioRpcError) -> tuple[str, str, list[str]]:
    status = rpc_status.from_call(error)
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        for message in (info, bad):
            detail.Unpack(message)
    return error.code().name, info.reason, [violation.field for violation in bad.field_violations]


async def refusal(call: Any) -> tuple[str, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return reason(caught.value)


Start = Callable[..., Any]


@pytest.fixture
def start(table: Path) -> Start:
    @asynccontextmanager
    async def run(server: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Running]:
        named = {"table": str(table), "shape_encoder": "folder", "refresh_seconds": 600.0} | settings
        server = {"log_level": "warning", **(server or {})}
        async with Running(RetrievalConfig(**named, server=ServerConfig(**server))) as running:
            yield running

    return run


async def test_what_is_added_is_its_owners(start: Start) -> None:
    cube = glb(1, 1, 1)
    async with start() as running:
        added = await running.add(
            cube, metadata=ALICE, name="my_cube", category="Boxes", licence="CC0-1.0", metric=True
        )
        hers = await running.find(cube, metadata=ALICE)
        assert set(hers) == {"plank", "my cube"}
        hit = hers["my cube"]
        assert (hit.id, hit.category, hit.licence, hit.faces) == (added.id, "box", "CC0-1.0", 12)
        assert (hit.extent_metres, hit.calibrated) == (1, False)
        assert hit.similarity == pytest.approx(1, abs=1e-3)
        assert next(iter(hers)) == "my cube"
        assert await running.download(added.id, metadata=ALICE) == cube
        for metadata in (BOB, None):
            assert set(await running.find(cube, metadata=metadata)) == {"plank"}
            assert await refusal(running.download(added.id, metadata=metadata)) == ("NOT_FOUND", "NOT_FOUND", [])
            removal = pb.RemoveMeshesRequest(ids=[added.id])
            assert (await running.admin.RemoveMeshes(removal, metadata=metadata)).removed_count == 0
            listed = await running.stub.ListMeshes(pb.ListMeshesRequest(), metadata=metadata)
            assert [row.name for row in listed.meshes] == ["plank"]
        listed = await running.stub.ListMeshes(pb.ListMeshesRequest(), metadata=ALICE)
        assert [row.name for row in listed.meshes] == ["plank", "my cube"]
        await running.add(cube, metadata=BOB, name="his")
        assert set(await running.find(cube, metadata=BOB)) == {"plank", "his"}
        assert set(await running.find(cube, metadata=ALICE)) == {"plank", "my cube"}


async def test_shared_meshes_are_everybodys(start: Start, table: Path) -> None:
    cube = glb(1, 1, 1)
    async with start() as running:
        added = await running.add(cube, metadata=ALICE, name="cube", shared=True)
        assert added.index_version == "table-2"
        assert await running.download(added.id, metadata=BOB) == cube
        assert set(await running.find(cube, metadata=BOB)) == {"plank", "cube"}
        again = await running.add(cube, name="dice", shared=True)
        assert again.id == added.id
        assert set(await running.find(cube)) == {"plank", "dice"}
        removed = await running.admin.RemoveMeshes(pb.RemoveMeshesRequest(ids=[added.id, "absent"], shared=True))
        assert removed.removed_count == 1
        assert set(await running.find(cube)) == {"plank"}
        assert (await refusal(running.download(added.id)))[1] == "NOT_FOUND"
        merged = await running.admin.CreateSnapshot(pb.CreateSnapshotRequest(shared=True))
        assert merged.row_count == 1
        assert merged.index_version == f"table-{VectorTable(table).version}"
        with VectorTable(table).open() as snapshot:
            assert (len(snapshot.parts), snapshot.parts[0].removed) == (1, "")


async def test_an_owners_own_snapshot(start: Start) -> None:
    async with start() as running:
        nothing = await running.admin.CreateSnapshot(pb.CreateSnapshotRequest(), metadata=ALICE)
        assert (nothing.index_version, nothing.row_count) == ("", 0)
        for side in (1, 2, 3):
            added = await running.add(glb(side, 1, 1), metadata=ALICE, name=str(side))
        await running.admin.RemoveMeshes(pb.RemoveMeshesRequest(ids=[added.id]), metadata=ALICE)
        merged = await running.admin.CreateSnapshot(pb.CreateSnapshotRequest(), metadata=ALICE)
        assert merged.row_count == 2
        assert set(await running.find(glb(1, 1, 1), metadata=ALICE)) == {"plank", "1", "2"}


async def test_embeddings_and_conditions_over_both_tables(start: Start) -> None:
    async with start() as running:
        await running.add(glb(1, 1, 1), metadata=ALICE, name="cube", category="box")
        asked = pb.SearchRequest(embedding=to_tensor(np.ones(10, np.float32)), category="boxes")
        assert [hit.name for hit in (await running.stub.Search(asked, metadata=ALICE)).hits] == ["cube"]
        asked.category, asked.limit = "", 1
        one = await running.stub.Search(asked, metadata=ALICE)
        assert len(one.hits) == 1
        assert one.index_version == "table-1+table-1"
        await running.add(glb(2, 0.1, 0.2), metadata=ALICE, name="the shared plank, too")
        names = [hit.name for hit in (await running.find(glb(2, 0.1, 0.2), metadata=ALICE)).values()]
        assert len(names) == 2  # one mesh counts once


async def test_a_query_that_needs_what_is_not_there(start: Start) -> None:
    async with start(shape_encoder="") as running:
        assert await refusal(running.find(glb(1, 1, 1))) == ("INVALID_ARGUMENT", "INPUT_INVALID", ["mesh"])
        assert await refusal(running.stub.Search(pb.SearchRequest(text="cup"))) == (
            "INVALID_ARGUMENT",
            "INPUT_INVALID",
            ["text"],
        )
        assert (await refusal(running.add(glb(1, 1, 1))))[:2] == ("FAILED_PRECONDITION", "CATALOGUE_READ_ONLY")


@pytest.mark.parametrize(
    ("messages", "expected", "field"),
    [
        ([], "MESH_INVALID", "chunk"),
        ([pb.AddMeshRequest(chunk=b"x")], "MESH_INVALID", "entry.file_type"),
        ([pb.AddMeshRequest(entry={"file_type": "glb/../.."}, chunk=b"x")], "MESH_INVALID", "entry.file_type"),
        ([pb.AddMeshRequest(entry={"file_type": "glb"}, chunk=b"glTF" * 8)], "MESH_INVALID", "mesh"),
        ([pb.AddMeshRequest(entry={"file_type": "glb"}, chunk=bytes(2**20 + 1))], "MESH_INVALID", "chunk"),
        ([pb.AddMeshRequest(entry={"file_type": "glb"}), *[pb.AddMeshRequest(chunk=bytes(2**20))] * 65],
         "MESH_INVALID", "chunk"),
        ([pb.AddMeshRequest(entry={"file_type": "glb", "name": "x" * 513})], "INPUT_INVALID", "entry.name"),
        ([pb.AddMeshRequest(entry={"file_type": "glb", "licence": "a\nb"})], "INPUT_INVALID", "entry.licence"),
        ([pb.AddMeshRequest(entry={"file_type": "glb"})] * 2, "INPUT_INVALID", "entry"),
        ([pb.AddMeshRequest(entry={"file_type": "obj"}, chunk=b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")],
         "MESH_INVALID", "mesh"),
    ],
)  # fmt: skip
async def test_bad_uploads_leave_the_table_as_it_was(
    start: Start, table: Path, messages: list[pb.AddMeshRequest], expected: str, field: str
) -> None:
    before = sorted(table.rglob("*"))
    async with start() as running:
        call = running.admin.AddMesh(iter(messages))
        assert await refusal(call) == ("INVALID_ARGUMENT", expected, [field])
    assert sorted(table.rglob("*")) == before


@pytest.mark.parametrize("count", [0, 10_001])
async def test_ids_to_remove_are_counted(start: Start, count: int) -> None:
    async with start() as running:
        removal = running.admin.RemoveMeshes(pb.RemoveMeshesRequest(ids=map(str, range(count))))
        assert await refusal(removal) == ("INVALID_ARGUMENT", "INPUT_INVALID", ["ids"])


async def test_an_owner_has_room_for_so_many(start: Start) -> None:
    async with start(max_owner_meshes=1) as running:
        await running.add(glb(1, 1, 1), metadata=ALICE)
        await running.add(glb(1, 1, 1), metadata=ALICE, name="the same again")
        assert (await refusal(running.add(glb(1, 1, 2), metadata=ALICE)))[:2] == (
            "RESOURCE_EXHAUSTED",
            "QUOTA_EXCEEDED",
        )
        await running.add(glb(1, 1, 2), metadata=BOB)
        await running.add(glb(1, 1, 2), metadata=ALICE, shared=True)


async def test_scopes(start: Start, write_tokens: Any, token_entry: Any) -> None:
    tokens = write_tokens(
        token_entry("searcher", "alice", ("retrieval",)),
        token_entry("adder", "alice", ("retrieval", "retrievaladmin")),
        token_entry("keeper", "carol", ("retrieval", "retrievaladmin", "catalogue")),
    )

    def of(name: str) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {name}")]

    cube = glb(1, 1, 1)
    async with start(server={"tokens_file": str(tokens)}) as running:
        assert (await refusal(running.add(cube)))[1] == "TOKEN_MISSING"
        assert (await refusal(running.add(cube, metadata=of("searcher"))))[:2] == ("PERMISSION_DENIED", "SCOPE_MISSING")
        for change in (
            running.add(cube, metadata=of("adder"), shared=True),
            running.admin.RemoveMeshes(pb.RemoveMeshesRequest(ids=["x"], shared=True), metadata=of("adder")),
            running.admin.CreateSnapshot(pb.CreateSnapshotRequest(shared=True), metadata=of("adder")),
        ):
            assert (await refusal(change))[:2] == ("PERMISSION_DENIED", "SCOPE_MISSING")
        await running.add(cube, metadata=of("adder"), name="hers")
        assert set(await running.find(cube, metadata=of("searcher"))) == {"plank", "hers"}  # the owner counts
        await running.add(cube, metadata=of("keeper"), name="all", shared=True)
        assert set(await running.find(cube, metadata=of("keeper"))) == {"plank", "all"}


async def test_snapshots_of_other_writers_are_searched_and_drop_no_request(start: Start, table: Path) -> None:
    """Another process adds ten rows one by one while callers ask."""
    over = threading.Event()
    versions: list[int] = []

    def write() -> None:
        for number in range(10):
            VectorTable(table).add([TableRow(id=f"row {number}")], np.eye(10)[number : number + 1])
        over.set()

    async with start(refresh_seconds=0.05) as running:
        asked = pb.SearchRequest(embedding=to_tensor(np.ones(10, np.float32)), limit=100)
        writing = asyncio.create_task(asyncio.to_thread(write))
        async with asyncio.timeout(60):
            while not versions or versions[-1] < 11:
                responses = await asyncio.gather(*(running.stub.Search(asked) for _ in range(4)))
                for response in responses:
                    version = int(response.index_version.removeprefix("table-"))
                    assert len(response.hits) == version  # a row a version: never half of one
                    versions.append(version)
        await writing
    assert over.is_set()
    assert versions == sorted(versions)


async def test_owners_tables_are_closed_when_others_come(start: Start) -> None:
    async with start(open_owners=1) as running:
        for owner in ("alice", "bob", "alice", "carol"):
            await running.add(glb(1, 1, 1), metadata=[("interactvlm-owner", owner)], name=owner)
        found = await asyncio.gather(
            *(running.find(glb(1, 1, 1), metadata=[("interactvlm-owner", owner)]) for owner in ("alice", "bob") * 4)
        )
        assert [set(names) - {"plank"} for names in found] == [{"alice"}, {"bob"}] * 4
        assert len(running.services[0].engine.tables._owners) == 1


async def test_a_damaged_table_leaves_the_others_fresh(start: Start, table: Path) -> None:
    cube = glb(1, 1, 1)
    async with start(refresh_seconds=0.05) as running:
        await running.add(cube, metadata=ALICE, name="hers")
        await running.add(cube, metadata=BOB, name="his")
        engine = running.services[0].engine
        own = engine.tables.folder("alice", shared=False)
        (own / "snapshots" / "000000000009.json").write_text("damaged")
        VectorTable(table).add([TableRow(id="new", name="new")], np.ones((1, 10)))
        with pytest.raises(CheckpointError, match="is no snapshot"):
            await engine.refresh()
        assert set(await running.find(cube, metadata=ALICE)) == {"plank", "hers", "new"}
        await asyncio.sleep(0.2)  # the looking goes on
        VectorTable(table).remove(["new"])
        async with asyncio.timeout(30):
            while "new" in await running.find(cube, metadata=BOB):
                await asyncio.sleep(0.02)
