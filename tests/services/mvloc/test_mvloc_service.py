from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from interactvlm.errors import CancelledError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.mvloc.encoder import ImageEncoder
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.stages import CallContext
from interactvlm.types import VertexContact
from interactvlm.v1 import mvloc_service_pb2, vlm_service_pb2
from interactvlm.wire import decode_body, decode_contact, encode_contact_query, encode_surface, to_tensor
from services.mvloc.config import MvlocConfig
from services.mvloc.model import Item, locate_batch
from services.runtime.calls import OWNER_KEY
from tests.services.stage_calls import held_worker, reason, waiting

pytestmark = pytest.mark.asyncio(loop_scope="module")

RNG = np.random.default_rng(3)
EMBEDDINGS = RNG.normal(size=(5, 256)).astype(np.float32)
HUMAN, OBJECT = ["[HSEG]", "[SEG]"], ["[OSEG]", "[SEG]"]


def queries(rows: np.ndarray, tokens: Sequence[str]) -> list[Any]:
    return [encode_contact_query(row, token) for row, token in zip(rows, tokens, strict=True)]


def on_body(running: Any, rows: np.ndarray, tokens: Sequence[str], **rest: Any) -> Any:
    return mvloc_service_pb2.LocateBodyRequest(queries=queries(rows, tokens), checkpoint_sha256=running.sha256, **rest)


def on_object(running: Any, surface: Mesh | PointCloud, rows: np.ndarray, tokens: Sequence[str], **rest: Any) -> Any:
    return mvloc_service_pb2.LocateObjectRequest(
        queries=queries(rows, tokens),
        checkpoint_sha256=running.sha256,
        mesh_sha256=surface.content_hash,
        **rest,
    )


def as_owner(owner: str) -> Any:
    return [(OWNER_KEY, owner)]


def contacts(response: mvloc_service_pb2.LocateResponse) -> list[VertexContact]:
    return [decode_contact(message, field=f"contacts[{i}]") for i, message in enumerate(response.contacts)]


def assert_same(got: Sequence[VertexContact], expected: Sequence[VertexContact]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """(surface's kind, embeddings) of every call of the model."""
    seen: list[tuple[str, int]] = []
    original = ContactLocalizer.locate

    def counting(self: ContactLocalizer, surface: Any, embeddings: Any, tokens: Any) -> Any:
        seen.append((surface.kind.value, len(tokens)))
        return original(self, surface, embeddings, tokens)

    monkeypatch.setattr(ContactLocalizer, "locate", counting)
    return seen


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Numbers of images that were encoded."""
    seen: list[int] = []
    original = ImageEncoder.encode_images

    def counting(self: ImageEncoder, images: Any, **options: Any) -> Any:
        seen.append(len(images))
        return original(self, images, **options)

    monkeypatch.setattr(ImageEncoder, "encode_images", counting)
    return seen


async def test_body_contacts_are_the_librarys(running: Any, library: ContactLocalizer) -> None:
    expected = library.locate_body(EMBEDDINGS[:2], HUMAN)
    response = await running.stub.LocateBody(on_body(running, EMBEDDINGS[:2], HUMAN, include_view_logits=True))
    got = contacts(response)
    assert_same(got, expected)
    for one, other in zip(got, expected, strict=True):
        assert one.view_logits is not None
        np.testing.assert_allclose(one.view_logits, other.view_logits, rtol=2e-3, atol=2e-3)
    assert (response.surface, response.model.checkpoint_sha256) == ("smplh", running.sha256)
    short = await running.stub.LocateBody(on_body(running, EMBEDDINGS[:2], HUMAN))
    assert not any(message.HasField("view_logits") for message in short.contacts)


async def test_callers_of_one_surface_share_one_call(
    running: Any, library: ContactLocalizer, mesh: Mesh, calls: list[tuple[str, int]]
) -> None:
    for owner in ("a", "b"):
        await running.stub.PutMesh(encode_surface(mesh), metadata=as_owner(owner))
    on_mesh = on_object(running, mesh, EMBEDDINGS[2:4], OBJECT)
    also_on_mesh = on_object(running, mesh, EMBEDDINGS[4:], ["[OSEG]"])
    await running.stub.LocateObject(on_mesh, metadata=as_owner("a"))  # a new surface fills most of a batch
    calls.clear()
    async with held_worker(running.service.engine):
        asked = [
            running.stub.LocateBody(on_body(running, EMBEDDINGS[:2], HUMAN)),
            running.stub.LocateObject(on_mesh, metadata=as_owner("a")),
            running.stub.LocateBody(on_body(running, EMBEDDINGS[2:3], ["[SEG]"])),
            running.stub.LocateObject(also_on_mesh, metadata=as_owner("b")),
        ]
        tasks = [asyncio.create_task(_await(call)) for call in asked]
        await waiting(running.service.engine, 4)
    responses = [contacts(response) for response in await asyncio.gather(*tasks)]
    assert sorted(calls) == [("body", 3), ("object mesh", 3)]
    assert_same(responses[0], library.locate_body(EMBEDDINGS[:2], HUMAN))
    assert_same(responses[1], library.locate_object(mesh, EMBEDDINGS[2:4], OBJECT))
    assert_same(responses[2], library.locate_body(EMBEDDINGS[2:3], ["[SEG]"]))
    assert_same(responses[3], library.locate_object(mesh, EMBEDDINGS[4:], ["[OSEG]"]))


async def _await(call: Any) -> Any:
    return await call


async def test_a_cancelled_member_leaves_its_siblings_alone(running: Any, calls: list[tuple[str, int]]) -> None:
    async with held_worker(running.service.engine):
        tasks = [
            asyncio.create_task(_await(running.stub.LocateBody(on_body(running, EMBEDDINGS[i : i + 1], ["[HSEG]"]))))
            for i in range(3)
        ]
        await waiting(running.service.engine, 3)
        tasks[0].cancel()
        while running.service.engine.pending > 2:
            await asyncio.sleep(0.005)
    cancelled, *rest = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [len(response.contacts) for response in rest] == [1, 1]
    assert calls == [("body", 2)]


@pytest.mark.parametrize("kind", ["mesh", "points"])
async def test_a_missing_mesh_is_asked_for_and_encoded_once(
    running: Any, library: ContactLocalizer, kind: str, mesh: Mesh, points: PointCloud, encoded: list[int]
) -> None:
    surface: Mesh | PointCloud = points if kind == "points" else Mesh(mesh.vertices * [1, 2, 1], mesh.faces)
    request = on_object(running, surface, EMBEDDINGS[:2], OBJECT)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.LocateObject(request)
    assert reason(caught.value)[:2] == ("FAILED_PRECONDITION", "MESH_MISSING")
    await running.stub.PutMesh(encode_surface(surface))
    response = await running.stub.LocateObject(request)
    again = await running.stub.LocateObject(request)
    assert encoded == [4]
    assert response.surface == surface.content_hash
    assert again.contacts == response.contacts
    assert_same(contacts(response), library.locate_object(surface, EMBEDDINGS[:2], OBJECT))


async def test_knowing_a_hash_is_not_access(running: Any, mesh: Mesh) -> None:
    own = Mesh(mesh.vertices * [3, 1, 1], mesh.faces)
    await running.stub.PutMesh(encode_surface(own), metadata=as_owner("alice"))
    request = on_object(running, own, EMBEDDINGS[:1], ["[OSEG]"])
    assert len((await running.stub.LocateObject(request, metadata=as_owner("alice"))).contacts) == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.LocateObject(request, metadata=as_owner("bob"))
    assert reason(caught.value)[:2] == ("FAILED_PRECONDITION", "MESH_MISSING")
    assert (await running.service.admin("clear-cache", {"owner": "alice"}))["forgotten"] == 1
    with pytest.raises(grpc.aio.AioRpcError):
        await running.stub.LocateObject(request, metadata=as_owner("alice"))


async def test_the_mesh_cache_is_bounded(mvloc_config: MvlocConfig, start: Any, mesh: Mesh) -> None:
    room = mesh.vertices.nbytes + mesh.faces.nbytes
    first, second = mesh, Mesh(mesh.vertices * [1, 1, 2], mesh.faces)
    async with start(replace(mvloc_config, mesh_cache_bytes=room)) as small:
        for surface in (first, second):
            await small.stub.PutMesh(encode_surface(surface))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await small.stub.LocateObject(on_object(small, first, EMBEDDINGS[:1], ["[OSEG]"]))
        assert reason(caught.value)[1] == "MESH_MISSING"
        assert len((await small.stub.LocateObject(on_object(small, second, EMBEDDINGS[:1], ["[OSEG]"]))).contacts) == 1


async def test_answers_larger_than_a_message_are_refused_first(
    mvloc_config: MvlocConfig, start: Any, mesh: Mesh, calls: list[tuple[str, int]]
) -> None:
    server = replace(mvloc_config.server, max_response_bytes=2 * 4 * len(mesh.vertices))
    async with start(replace(mvloc_config, server=server)) as narrow:
        await narrow.stub.PutMesh(encode_surface(mesh))
        calls.clear()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await narrow.stub.LocateObject(on_object(narrow, mesh, EMBEDDINGS[:2], OBJECT))
        assert reason(caught.value) == ("INVALID_ARGUMENT", "INPUT_INVALID", ["queries"])
        assert calls == []
        await narrow.stub.LocateObject(on_object(narrow, mesh, EMBEDDINGS[:1], ["[OSEG]"]))


async def test_a_known_body_needs_no_image_encoder(
    running: Any, mvloc_config: MvlocConfig, start: Any, encoded: list[int], mesh: Mesh
) -> None:
    # `running` has filled the cache on disk.
    async with start(mvloc_config) as second:
        await second.stub.LocateBody(on_body(second, EMBEDDINGS[:2], HUMAN))
        assert not second.model.localizer.encoder_loaded
        assert encoded == []
    async with start(replace(mvloc_config, preload_encoder=True)) as third:
        assert third.model.localizer.encoder_loaded


async def test_the_body_and_the_model_are_told(running: Any) -> None:
    body = decode_body(await running.stub.GetCheckpointBody(mvloc_service_pb2.GetCheckpointBodyRequest()))
    np.testing.assert_array_equal(body.vertices, running.model.body.vertices)
    np.testing.assert_array_equal(body.part_index, running.model.body.part_index)
    info = await running.stub.GetModelInfo(vlm_service_pb2.GetModelInfoRequest())
    (live,) = info.models
    assert (live.model.checkpoint_sha256, live.weight) == (running.sha256, 1.0)
    assert (live.body_topology, live.body_vertex_count) == ("smplh", len(body.vertices))
    assert list(live.tasks) == [1, 2, 3, 4]


async def test_a_replaced_checkpoint_answers_the_same(running: Any) -> None:
    before = await running.stub.LocateBody(on_body(running, EMBEDDINGS[:2], HUMAN))
    shown = await running.service.admin("reload", {})
    assert [model["checkpoint_sha256"] for model in shown["models"]] == [running.sha256]
    assert_same(contacts(await running.stub.LocateBody(on_body(running, EMBEDDINGS[:2], HUMAN))), contacts(before))


def _bad(name: str, sha256: str, mesh: Mesh) -> tuple[str, Any, str, str]:
    """(method, request, reason, field)"""
    query = encode_contact_query(EMBEDDINGS[0], "[HSEG]")
    damaged = mvloc_service_pb2.ContactQuery(contact_token="[HSEG]")
    match name:
        case "no queries":
            return "LocateBody", {"checkpoint_sha256": sha256}, "INPUT_INVALID", "queries"
        case "65 queries":
            return "LocateBody", {"checkpoint_sha256": sha256, "queries": [query] * 65}, "INPUT_INVALID", "queries"
        case "no checkpoint":
            return "LocateBody", {"queries": [query]}, "INPUT_INVALID", "checkpoint_sha256"
        case "other length":
            damaged.embedding.CopyFrom(to_tensor(EMBEDDINGS[0][:128]))
        case "not finite":
            damaged.embedding.CopyFrom(to_tensor(np.full(256, np.nan, np.float32)))
        case "half floats":
            damaged.embedding.CopyFrom(to_tensor(EMBEDDINGS[0].astype(np.float16)))
        case "bytes missing":
            damaged.embedding.CopyFrom(to_tensor(EMBEDDINGS[0]))
            damaged.embedding.data = damaged.embedding.data[:-4]
        case "no token":
            damaged = encode_contact_query(EMBEDDINGS[0], "")
            return _damaged(sha256, [query, damaged], "queries[1].contact_token")
        case "no mesh hash":
            fields = {"checkpoint_sha256": sha256, "queries": [query], "mesh_sha256": "/etc/passwd"}
            return "LocateObject", fields, "INPUT_INVALID", "mesh_sha256"
        case "other mesh hash":
            return "PutMesh", _put(mesh, mesh_sha256="0" * 64), "MESH_INVALID", "mesh_sha256"
        case "no vertices":
            return "PutMesh", {"mesh_sha256": "0" * 64}, "INPUT_INVALID", "vertices"
        case "face outside":
            faces = to_tensor(mesh.faces + np.int32(len(mesh.vertices)))
            return "PutMesh", _put(mesh, faces=faces), "MESH_INVALID", "faces"
        case "a point":
            flat = PointCloud(np.ones((4, 3), np.float32))
            return "PutMesh", _put(flat), "MESH_INVALID", "points"
    return _damaged(sha256, [query, damaged], "queries[1].embedding")


def _damaged(sha256: str, messages: list[Any], field: str) -> tuple[str, Any, str, str]:
    return "LocateBody", {"checkpoint_sha256": sha256, "queries": messages}, "INPUT_INVALID", field


def _put(surface: Mesh | PointCloud, **changes: Any) -> dict[str, Any]:
    message = encode_surface(surface)
    return {field.name: value for field, value in message.ListFields()} | changes


@pytest.mark.parametrize(
    "name",
    [
        "no queries", "65 queries", "no checkpoint", "other length", "not finite", "half floats", "bytes missing",
        "no token", "no mesh hash", "other mesh hash", "no vertices", "face outside", "a point",
    ],
)  # fmt: skip
async def test_malformed_requests_name_their_field(running: Any, mesh: Mesh, name: str) -> None:
    method, fields, expected, field = _bad(name, running.sha256, mesh)
    kind = getattr(mvloc_service_pb2, f"{method}Request")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(running.stub, method)(kind(**fields))
    assert reason(caught.value) == ("INVALID_ARGUMENT", expected, [field])


async def test_a_checkpoint_that_is_not_live(running: Any) -> None:
    request = on_body(running, EMBEDDINGS[:1], ["[HSEG]"])
    request.checkpoint_sha256 = "0" * 64
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.LocateBody(request)
    assert reason(caught.value)[:2] == ("NOT_FOUND", "CHECKPOINT_NOT_LIVE")


async def test_an_object_that_nobody_waits_for_any_more_is_not_encoded(running: Any, mesh: Mesh) -> None:
    model = running.model
    embeddings, token = np.zeros((1, model.channels), np.float32), "[SEG]"
    unknown = PointCloud(mesh.vertices * np.float32(1.25))
    gone, there = CallContext(), CallContext()
    gone.cancel()
    items = [
        Item(model, unknown, embeddings, (token,), gone),
        Item(model, None, embeddings, (token,), there),
    ]
    stopped, placed = await asyncio.to_thread(locate_batch, items)
    assert isinstance(stopped, CancelledError)
    assert isinstance(placed, tuple)
    assert not model.localizer.holds(unknown)
    # As long as one caller waits, the work is done for all.
    both = await asyncio.to_thread(locate_batch, [items[0], replace(items[0], context=there)])
    assert all(isinstance(one, tuple) for one in both)
