from __future__ import annotations

import asyncio
import io
import threading
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from interactvlm.errors import InputError
from interactvlm.geometry.load import load_mesh
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.v1 import types_pb2
from interactvlm.wire import from_tensor, to_tensor
from services.runtime.metrics import REGISTRY
from tests.services.stage_calls import held_worker, reason, waiting

pytestmark = pytest.mark.asyncio(loop_scope="module")

GLB, PLY = "a" * 64, "b" * 64


def text(words: str = "cup", **rest: Any) -> pb.SearchRequest:
    return pb.SearchRequest(text=words, **rest)


def embedding(*numbers: float) -> pb.SearchRequest:
    return pb.SearchRequest(embedding=to_tensor(np.array(numbers, np.float32)))


def ids(response: pb.SearchResponse) -> list[str]:
    return [hit.id for hit in response.hits]


async def _await(call: Any) -> Any:
    return await call


async def test_hits_say_all_that_is_known(toy: Any) -> None:
    response = await toy.stub.Search(text("cup"))
    assert (response.index_version, response.nothing_close, response.category) == ("toy-1", False, "cup")
    mug, racket, sofa = response.hits
    assert (mug.id, mug.name, mug.category, mug.licence, mug.faces) == ("mug", "red mug", "cup", "CC0-1.0", 100)
    assert (mug.mesh_sha256, mug.similarity, mug.extent_source) == (GLB, 1.0, "mesh")
    assert mug.extent_metres == pytest.approx(0.1)
    assert (mug.calibrated, mug.confidence, racket.confidence) == (True, 1.0, 0.5)
    assert (sofa.calibrated, sofa.confidence, sofa.HasField("view")) == (False, 0.0, False)


@pytest.mark.parametrize("kind", ["embedding", "points", "coloured points", "mesh", "crop"])
async def test_every_kind_of_query(toy: Any, kind: str, picture: bytes, triangle_file: Any) -> None:
    points = np.random.default_rng(0).random((50, 6)).astype(np.float32)
    request, first = {
        "embedding": (embedding(0, 0, 2), "sofa"),
        "points": (pb.SearchRequest(points=to_tensor(points[:, :3])), "racket"),
        "coloured points": (pb.SearchRequest(points=to_tensor(points)), "racket"),
        "mesh": (pb.SearchRequest(mesh=pb.MeshFile(file_type="ply", content=triangle_file.read_bytes())), "racket"),
        "crop": (pb.SearchRequest(crop=picture), "mug"),
    }[kind]
    response = await toy.stub.Search(request)
    assert ids(response)[0] == first
    if kind == "crop":
        view = response.hits[0].view
        assert (view.azimuth_degrees, view.elevation_degrees, view.roll_degrees, view.similarity) == (90, 10, -5, 0.75)
        np.testing.assert_array_equal(
            from_tensor(view.rotation, field="r", dtypes=(np.float32,), shape=(3, 3)), np.eye(3)
        )


async def test_box_and_mask_reach_the_encoder_with_what_is_around_them(toy: Any, picture: bytes) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:9, 10:14] = 1
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    toy.table.pictures.clear()
    box = types_pb2.BoundingBox(left=10, top=5, right=14, bottom=9)
    await toy.stub.Search(pb.SearchRequest(crop=picture, box=box, mask_png=stream.getvalue()))
    await toy.stub.Search(pb.SearchRequest(crop=picture, mask_png=stream.getvalue()))
    both, masked = toy.table.pictures
    assert both.photo.shape == masked.photo.shape == (12, 12, 3)
    assert (both.box.left, both.box.top, both.box.right, both.box.bottom) == (4, 4, 8, 8)
    assert masked.box is None
    for query in (both, masked):
        assert (query.photo[query.mask] == (0, 200, 0)).all()
        assert query.mask.sum() == 16


async def test_conditions_hold(toy: Any) -> None:
    assert ids(await toy.stub.Search(text(category="Tennis_Rackets"))) == ["racket"]
    assert set(ids(await toy.stub.Search(text(category="sofas", categories=["mugs"])))) == {"mug", "sofa"}
    assert set(ids(await toy.stub.Search(text(licences=["CC0-1.0"])))) == {"mug", "sofa"}
    assert set(ids(await toy.stub.Search(text(max_faces=1500)))) == {"mug", "sofa"}
    assert ids(await toy.stub.Search(text(min_extent_metres=0.5, max_extent_metres=1.0))) == ["racket"]
    assert ids(await toy.stub.Search(text(max_extent_metres=0.5))) == ["mug"]
    assert ids(await toy.stub.Search(text(limit=1))) == ["mug"]
    assert ids(await toy.stub.Search(text(category="zebra"))) == []


async def test_nothing_close_is_no_hit_unless_asked_for(toy: Any) -> None:
    response = await toy.stub.Search(text("nonsense"))
    assert (ids(response), response.nothing_close) == ([], True)
    response = await toy.stub.Search(text("nonsense", include_distant=True))
    assert (len(response.hits), response.nothing_close) == (3, True)


async def test_callers_of_one_kind_are_one_call(toy: Any) -> None:
    toy.table.calls.clear()
    toy.table.threads.clear()
    before = _observed()
    async with held_worker(toy.engine):
        asked = [text("cup"), text("sofa"), embedding(0, 1, 0), text("racket"), embedding(1, 0, 0), text(limit=1)]
        tasks = [asyncio.create_task(_await(toy.stub.Search(request))) for request in asked]
        await waiting(toy.engine, len(asked))
    responses = await asyncio.gather(*tasks)
    assert [ids(response)[0] for response in responses] == ["mug", "sofa", "racket", "racket", "mug", "mug"]
    assert sorted(toy.table.calls) == [("embedding", 2), ("text", 1), ("text", 3)]
    assert len(toy.table.threads) == 1
    assert _observed() == before + 1


def _observed() -> float:
    return REGISTRY.get_sample_value("interactvlm_batch_items_count", {"batcher": "retrieval"}) or 0.0


async def test_a_bad_member_and_a_cancelled_one_leave_the_others_alone(toy: Any) -> None:
    async with held_worker(toy.engine):
        asked = [embedding(1, 0, 0), embedding(1, 0), embedding(0, 1, 0), embedding(0, 0, 1)]
        tasks = [asyncio.create_task(_await(toy.stub.Search(request))) for request in asked]
        await waiting(toy.engine, 4)
        tasks[2].cancel()
        while toy.engine.pending > 3:
            await asyncio.sleep(0.005)
    good, bad, cancelled, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert (ids(good)[0], ids(other)[0]) == ("mug", "sofa")
    assert isinstance(cancelled, asyncio.CancelledError)
    assert reason(bad) == ("INVALID_ARGUMENT", "INPUT_INVALID", ["embedding"])
    assert "2 channels; the table's have 3" in bad.details()


async def test_a_deadline_holds_while_waiting(toy: Any) -> None:
    async with held_worker(toy.engine):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await toy.stub.Search(text(), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert ids(await toy.stub.Search(text()))[0] == "mug"


def _tensor(shape: list[int], data: bytes = b"") -> types_pb2.Tensor:
    return types_pb2.Tensor(element_type=types_pb2.ELEMENT_TYPE_FLOAT32, shape=shape, data=data)


def _mask(width: int, height: int, value: int = 255) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height), value).save(stream, "PNG")
    return stream.getvalue()


def _external_glb() -> bytes:
    """Its buffer is another file."""
    import json
    import struct

    scene = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "buffers": [{"byteLength": 36, "uri": "file:///etc/passwd"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
    }
    body = json.dumps(scene).encode()
    body += b" " * (-len(body) % 4)
    return struct.pack("<III", 0x46546C67, 2, 20 + len(body)) + struct.pack("<II", len(body), 0x4E4F534A) + body


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no query": ({}, "INPUT_INVALID", "query"),
    "no text": ({"text": "  "}, "INPUT_INVALID", "text"),
    "long text": ({"text": "x" * 257}, "INPUT_INVALID", "text"),
    "limit": ({"text": "cup", "limit": 101}, "INPUT_INVALID", "limit"),
    "negative limit": ({"text": "cup", "limit": -1}, "INPUT_INVALID", "limit"),
    "faces": ({"text": "cup", "max_faces": -1}, "INPUT_INVALID", "max_faces"),
    "sizes": (
        {"text": "cup", "min_extent_metres": 2, "max_extent_metres": 1}, "INPUT_INVALID", "min_extent_metres"
    ),
    "size nan": ({"text": "cup", "min_extent_metres": float("nan")}, "INPUT_INVALID", "min_extent_metres"),
    "65 categories": ({"text": "cup", "categories": ["cup"] * 65}, "INPUT_INVALID", "categories"),
    "long licence": ({"text": "cup", "licences": ["x" * 513]}, "INPUT_INVALID", "licences"),
    "box without crop": ({"text": "cup", "box": {"right": 1, "bottom": 1}}, "INPUT_INVALID", "box"),
    "mask without crop": ({"text": "cup", "mask_png": b"x"}, "INPUT_INVALID", "mask_png"),
    "two axes": ({"embedding": to_tensor(np.ones((1, 3), np.float32))}, "INPUT_INVALID", "embedding"),
    "halves": ({"embedding": to_tensor(np.ones(3, np.float16))}, "INPUT_INVALID", "embedding"),
    "nan": ({"embedding": to_tensor(np.full(3, np.nan, np.float32))}, "INPUT_INVALID", "embedding"),
    "wrong length": ({"embedding": to_tensor(np.ones(1280, np.float32))}, "INPUT_INVALID", "embedding"),
    "no points": ({"points": _tensor([0, 6])}, "INPUT_INVALID", "points"),
    "five columns": ({"points": to_tensor(np.ones((4, 5), np.float32))}, "INPUT_INVALID", "points"),
    "points nan": ({"points": to_tensor(np.full((4, 3), np.nan, np.float32))}, "INPUT_INVALID", "points"),
    "one place": ({"points": to_tensor(np.ones((9, 3), np.float32))}, "INPUT_INVALID", "points"),
    "loud colours": ({"points": to_tensor(np.eye(6, dtype=np.float32) * 2)}, "INPUT_INVALID", "points"),
    "a hundred million points": ({"points": _tensor([10**8, 6], b"\0" * 24)}, "INPUT_INVALID", "points"),
    "no mesh type": ({"mesh": pb.MeshFile(content=b"x")}, "MESH_INVALID", "mesh.file_type"),
    "path as type": ({"mesh": pb.MeshFile(file_type="../glb", content=b"x")}, "MESH_INVALID", "mesh.file_type"),
    "bad GLB": ({"mesh": pb.MeshFile(file_type="glb", content=b"glTF" * 9)}, "MESH_INVALID", "mesh.content"),
    "GLB of another file": (
        {"mesh": pb.MeshFile(file_type="glb", content=_external_glb())}, "MESH_INVALID", "mesh.content"
    ),
    "no picture": ({"crop": b"GIF89a"}, "PHOTO_INVALID", "crop"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_malformed_requests_name_their_field(toy: Any, name: str) -> None:
    fields, expected, field = BAD[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.stub.Search(pb.SearchRequest(**fields))
    assert reason(caught.value) == ("INVALID_ARGUMENT", expected, [field])
    assert "etc/passwd" not in caught.value.details()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"box": {"left": 5, "right": 5, "bottom": 9}}, "box"),
        ({"box": {"left": 100, "right": 200, "bottom": 9}}, "box"),
        ({"box": {"left": float("nan"), "right": 5, "bottom": 9}}, "box"),
        ({"mask_png": b"no picture"}, "mask_png"),
        ({"mask_png": _mask(39, 30)}, "mask_png"),
        ({"mask_png": _mask(40, 30, 0)}, "mask_png"),
    ],
)
async def test_regions_must_fit_the_picture(toy: Any, picture: bytes, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.stub.Search(pb.SearchRequest(crop=picture, **fields))
    assert reason(caught.value) == ("INVALID_ARGUMENT", "INPUT_INVALID", [field])


async def test_all_there_is_page_by_page(toy: Any) -> None:
    whole = await toy.stub.ListMeshes(pb.ListMeshesRequest())
    assert [(row.id, row.category, row.faces) for row in whole.meshes] == [
        ("mug", "cup", 100),
        ("racket", "tennis racket", 2000),
        ("sofa", "couch", 1500),
    ]
    assert (whole.next_page_token, whole.meshes[1].licence, whole.meshes[0].mesh_sha256) == ("", "CC-BY-4.0", GLB)
    assert whole.meshes[2].extent_metres == 2.3
    token, seen = "", []
    while not seen or token:
        page = await toy.stub.ListMeshes(pb.ListMeshesRequest(page_size=2, page_token=token))
        seen.append([row.id for row in page.meshes])
        token = page.next_page_token
    assert seen == [["mug", "racket"], ["sofa"]]
    for asked in ({"category": "sofas"}, {"id": "sofa"}, {"id": "sofa", "category": "couch"}):
        assert [row.id for row in (await toy.stub.ListMeshes(pb.ListMeshesRequest(**asked))).meshes] == ["sofa"]
    assert not (await toy.stub.ListMeshes(pb.ListMeshesRequest(id="absent"))).meshes
    assert not (await toy.stub.ListMeshes(pb.ListMeshesRequest(page_token="999"))).meshes


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": 1001}, "page_size"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "-1"}, "page_token"),
        ({"page_token": "9" * 13}, "page_token"),
        ({"page_token": "²"}, "page_token"),
        ({"category": "x" * 513}, "category"),
        ({"id": "x" * 513}, "id"),
    ],
)
async def test_pages_that_nobody_has_given(toy: Any, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.stub.ListMeshes(pb.ListMeshesRequest(**fields))
    assert reason(caught.value) == ("INVALID_ARGUMENT", "INPUT_INVALID", [field])


async def test_a_mesh_comes_in_pieces(toy: Any) -> None:
    pieces = [piece async for piece in toy.stub.DownloadMesh(pb.DownloadMeshRequest(mesh_sha256=GLB))]
    content = toy.table.mesh(GLB).content
    assert b"".join(piece.chunk for piece in pieces) == content
    assert [len(piece.chunk) for piece in pieces] == [2**20, 2**20, len(content) - 2**21]
    assert [piece.total_bytes for piece in pieces] == [len(content), 0, 0]


async def test_other_files_come_as_glb(toy: Any) -> None:
    pieces = [piece async for piece in toy.stub.DownloadMesh(pb.DownloadMeshRequest(mesh_sha256=PLY))]
    (piece,) = pieces
    assert piece.total_bytes == len(piece.chunk)
    mesh = load_mesh(piece.chunk, file_type="glb")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("sha256", "expected"),
    [
        ("c" * 64, ("NOT_FOUND", "NOT_FOUND", [])),
        ("", ("INVALID_ARGUMENT", "INPUT_INVALID", ["mesh_sha256"])),
        ("../../etc/passwd", ("INVALID_ARGUMENT", "INPUT_INVALID", ["mesh_sha256"])),
        ("A" * 64, ("INVALID_ARGUMENT", "INPUT_INVALID", ["mesh_sha256"])),
    ],
)
async def test_meshes_that_are_not_there(toy: Any, sha256: str, expected: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.stub.DownloadMesh(pb.DownloadMeshRequest(mesh_sha256=sha256)).read()
    assert reason(caught.value) == expected


async def test_the_embedded_catalogue_never_changes(toy: Any) -> None:
    upload = [pb.AddMeshRequest(entry={"file_type": "ply"}, chunk=b"ply")]
    for call in (
        toy.admin.AddMesh(iter(upload)),
        toy.admin.RemoveMeshes(pb.RemoveMeshesRequest(ids=["mug"])),
        toy.admin.CreateSnapshot(pb.CreateSnapshotRequest(shared=True)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert reason(caught.value)[:2] == ("FAILED_PRECONDITION", "CATALOGUE_READ_ONLY")


async def test_it_tells_that_it_loads(start_toy: Any, toy_table: Any) -> None:
    running, ready = start_toy(toy_table()), threading.Event()
    opening = running.engine._opening
    running.engine._opening = lambda config: (ready.wait(30), opening(config))[1]
    starting = asyncio.create_task(running.__aenter__())
    async with asyncio.timeout(30):
        while not running.server.port:
            await asyncio.sleep(0.01)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service=running.service.name)
        assert (await health.Check(asked, wait_for_ready=True)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{running.service.name}/Search")(text().SerializeToString())
        assert reason(caught.value)[:2] == ("UNAVAILABLE", "LOADING")
        ready.set()
        await starting
        assert (await health.Check(asked)).status == health_pb2.HealthCheckResponse.SERVING
    await running.__aexit__()
    assert running.table.closed


async def test_a_drain_answers_what_is_inside(start_toy: Any, toy_table: Any) -> None:
    async with start_toy(toy_table()) as running:
        async with held_worker(running.engine):
            asked = asyncio.create_task(_await(running.stub.Search(text())))
            await waiting(running.engine, 1)
            stopping = asyncio.create_task(running.server.stop())
            await asyncio.sleep(0.1)
        assert ids(await asked)[0] == "mug"
        await stopping


async def test_queries_that_wait_are_bounded(start_toy: Any, toy_table: Any, picture: bytes) -> None:
    async with start_toy(toy_table(), waiting_bytes=5000) as running:
        async with held_worker(running.engine):
            first = asyncio.create_task(_await(running.stub.Search(pb.SearchRequest(crop=picture))))
            await waiting(running.engine, 1)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await running.stub.Search(pb.SearchRequest(crop=picture + bytes(4000)))
        assert reason(caught.value)[:2] == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert ids(await first)[0] == "mug"


async def test_newer_snapshots_are_searched_without_being_told(start_toy: Any, toy_table: Any) -> None:
    async with start_toy(toy_table(), refresh_seconds=0.05) as running:
        assert (await running.stub.Search(text())).index_version == "toy-1"
        running.table.newer = 1
        async with asyncio.timeout(30):
            while (await running.stub.Search(text())).index_version != "toy-2":
                await asyncio.sleep(0.01)


async def test_admin_commands(start_toy: Any, toy_table: Any) -> None:
    async with start_toy(toy_table(), refresh_seconds=600) as running:
        told = await running.service.admin("table", {})
        assert told == {"table": "embedded catalogue", "version": "toy-1", "rows": 3, "reloaded": 0}
        running.table.newer = 1
        told = await running.service.admin("reload", {})
        assert (told["version"], told["reloaded"]) == ("toy-2", 1)
        for command, arguments in (("forget", {}), ("reload", {"now": True})):
            with pytest.raises(InputError, match=r"known|takes none"):
                await running.service.admin(command, arguments)


@pytest.mark.parametrize("at_start", [True, False])
async def test_while_views_are_built_texts_are_answered(
    start_toy: Any, toy_table: Any, picture: bytes, at_start: bool
) -> None:
    begun, go_on, table = threading.Event(), threading.Event(), toy_table()
    table.sees = False

    def build() -> None:
        begun.set()
        go_on.wait(30)
        table.sees = True

    table.warm_views = build
    async with start_toy(table, prepare_views=at_start) as toy:
        assert (await asyncio.to_thread(begun.wait, 0.5)) == at_start
        assert (await toy.stub.Search(text("cup"))).hits
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await toy.stub.Search(pb.SearchRequest(crop=picture, include_distant=True))
        assert told.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "views are still being built" in (told.value.details() or "")
        assert await asyncio.to_thread(begun.wait, 5)
        go_on.set()
        while not table.sees:
            await asyncio.sleep(0.01)
        assert (await toy.stub.Search(pb.SearchRequest(crop=picture, include_distant=True))).hits
