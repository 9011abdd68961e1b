"""Every reason of docs/errors.md, brought about as it comes about: what a client sees is what the document says."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from interactvlm.client.errors import ServerError, from_call
from interactvlm.errors import CheckpointError
from interactvlm.v1 import contact_service_pb2 as pb
from interactvlm.v1 import (
    mvloc_service_pb2,
    mvloc_service_pb2_grpc,
    retrieval_service_pb2,
    retrieval_service_pb2_grpc,
    vlm_service_pb2,
    vlm_service_pb2_grpc,
)
from interactvlm.wire import encode_contact_query
from services.retrieval.admin_servicer import RetrievalAdminService
from services.retrieval.config import RetrievalConfig
from services.retrieval.engine import RetrievalEngine
from services.retrieval.opening import Opened
from services.retrieval.servicer import RetrievalService
from services.retrieval.tables import Tables
from services.runtime import metrics
from services.runtime.config import ServerConfig
from services.runtime.server import Server
from tests.reliability.load import request
from tests.reliability.processes import ROOT, eventually
from tests.reliability.rooms import Build, Room
from tests.reliability.stub_stage import CHECKPOINT, POISON, StubConfig, StubVlm

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHA = "0" * 64


@dataclass
class World:
    """What the ways to an error need."""

    build: Build
    photo: bytes
    folder: Path
    patch: pytest.MonkeyPatch

    async def predict(self, room: Room, *, timeout: float = 30, token: str = "", **fields: Any) -> ServerError:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        return await refusal(room.contact.Predict(request(self.photo, **fields), timeout=timeout, metadata=metadata))

    def tokens(self, *entries: str) -> dict[str, str]:
        """A server's settings: tokens "0", "1" ... with these further lines."""
        texts = (
            f'[[tokens]]\nsha256 = "{hashlib.sha256(str(number).encode()).hexdigest()}"\nowner = "alice"\n{rest}\n'
            for number, rest in enumerate(entries)
        )
        (self.folder / "tokens.toml").write_text("\n".join(texts))
        return {"tokens_file": str(self.folder / "tokens.toml")}

    async def begun(self, room: Room, **fields: Any) -> asyncio.Future[Any]:
        """A call that the language stage computes on."""
        call = asyncio.ensure_future(room.contact.Predict(request(self.photo, **fields), timeout=60))
        await eventually(lambda: room.vlm.counts["started"] > 0, "the language stage computes")
        return call


async def refusal(call: Any) -> ServerError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_call(caught.value, "")


Way = Callable[[World], Awaitable[ServerError]]
WAYS: dict[str, Way] = {}


def way(reason: str) -> Callable[[Way], Way]:
    def note(function: Way) -> Way:
        WAYS[reason] = function
        return function

    return note


@way("INPUT_INVALID")
async def _(world: World) -> ServerError:
    return await world.predict(await world.build(), checkpoint_sha256="x")


@way("PHOTO_INVALID")
async def _(world: World) -> ServerError:
    return await refusal((await world.build()).contact.Predict(request(b"no photo"), timeout=30))


@way("MESH_INVALID")
async def _(world: World) -> ServerError:
    upload = [pb.UploadMeshRequest(file_type="obj", chunk=b"v 0 0\n")]
    return await refusal((await world.build()).contact.UploadMesh(iter(upload), timeout=30))


@way("QUESTION_INVALID")
async def _(world: World) -> ServerError:
    return await world.predict(await world.build(), objects=[{"name": "x"}] * 65)


@way("TOKEN_MISSING")
async def _(world: World) -> ServerError:
    return await world.predict(await world.build(server=world.tokens("")))


@way("TOKEN_UNKNOWN")
async def _(world: World) -> ServerError:
    return await world.predict(await world.build(server=world.tokens("")), token="guessed")


@way("TOKEN_EXPIRED")
async def _(world: World) -> ServerError:
    entry = 'scopes = ["*"]\nexpires = 2020-01-01T00:00:00Z'
    return await world.predict(await world.build(server=world.tokens(entry)), token="0")


@way("SCOPE_MISSING")
async def _(world: World) -> ServerError:
    return await world.predict(await world.build(server=world.tokens('scopes = ["batch"]')), token="0")


@way("NOT_FOUND")
async def _(world: World) -> ServerError:
    return await refusal((await world.build()).contact.GetBody(pb.GetBodyRequest(name="bodies/other"), timeout=30))


@way("MESH_NOT_FOUND")
async def _(world: World) -> ServerError:
    return await world.predict(await world.build(), objects=[{"name": "chair", "mesh_sha256": SHA}])


@way("CHECKPOINT_NOT_LIVE")
async def _(world: World) -> ServerError:
    return await world.predict(await world.build(), checkpoint_sha256=SHA)


@way("REQUEST_ID_REUSED")
async def _(world: World) -> ServerError:
    room = await world.build()
    await room.contact.Predict(request(world.photo, request_id="one"), timeout=30)
    return await world.predict(room, request_id="one", fast=True)


@way("MESH_MISSING")
async def _(world: World) -> ServerError:
    room = await world.build()
    queries = [encode_contact_query(np.zeros(256, np.float32), "[SEG]")]
    asked = mvloc_service_pb2.LocateObjectRequest(queries=queries, checkpoint_sha256=CHECKPOINT, mesh_sha256=SHA)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{room.stages['mvloc'].port}") as channel:
        return await refusal(mvloc_service_pb2_grpc.MvlocServiceStub(channel).LocateObject(asked, timeout=30))


@way("CATALOGUE_READ_ONLY")
async def _(world: World) -> ServerError:
    """Nothing can be added to what ships; told by the retrieval server itself, for changes pass no orchestrator."""
    tables = Tables(SimpleNamespace(close=lambda: None), folder=None, open_table=None, most_open=1)  # type: ignore[arg-type]
    engine = RetrievalEngine(RetrievalConfig(prepare_views=False), opening=lambda _: Opened(tables, None))
    server = Server([RetrievalService(engine), RetrievalAdminService(engine, max_owner_meshes=1)], ServerConfig())
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = retrieval_service_pb2_grpc.RetrievalAdminServiceStub(channel)
            return await refusal(stub.RemoveMeshes(retrieval_service_pb2.RemoveMeshesRequest(ids=["mug"]), timeout=30))
    finally:
        await server.stop(grace=0)


@way("CHECKPOINT_UNUSABLE")
async def _(world: World) -> ServerError:
    """An engine finds a part of its checkpoint damaged when it first reads it."""
    room = await world.build()
    room.vlm.failure = CheckpointError("/srv/models/encoder.safetensors", "ends early")
    refused = await world.predict(room)
    assert "/srv" not in str(refused)
    return refused


@way("DEPENDENCY_MISSING")
async def _(world: World) -> ServerError:
    """Whom a pixel shows is the detector's to say, whose package the server lacks."""
    world.patch.setattr("services.orchestrator.service.load_detector", lambda: None)
    room = await world.build()
    asked = pb.PredictRequest(photo=world.photo, person={"point": {"x": 3, "y": 3}})
    return await refusal(room.contact.Predict(asked, timeout=30))


@way("RESOURCE_EXHAUSTED")
async def _(world: World) -> ServerError:
    """A stage takes smaller messages than the public API; gRPC itself refuses there."""
    return await world.predict(await world.build(stage_server={"max_request_bytes": 2048}))


@way("QUEUE_FULL")
async def _(world: World) -> ServerError:
    room = await world.build(vlm={"batch_seconds": 0.5}, predict={"max_pending": 1})
    begun = await world.begun(room)
    refused = await world.predict(room)
    await begun
    return refused


@way("SERVER_BUSY")
async def _(world: World) -> ServerError:
    room = await world.build(vlm={"batch_seconds": 0.5}, server={"max_concurrent_calls": 1})
    begun = await world.begun(room)
    refused = await world.predict(room)
    await begun
    return refused


@way("QUOTA_EXCEEDED")
async def _(world: World) -> ServerError:
    entry = 'scopes = ["*"]\nrequests_per_second = 0.001\nburst = 1'
    room = await world.build(server=world.tokens(entry))
    await room.contact.Predict(request(world.photo), timeout=30, metadata=(("authorization", "Bearer 0"),))
    return await world.predict(room, token="0")


@way("DEADLINE_EXCEEDED")
async def _(world: World) -> ServerError:
    room = await world.build(vlm={"batch_seconds": 1.0}, server={"deadline_margin_seconds": 10.0})
    return await world.predict(room, timeout=10.4)


@way("DEADLINE_TOO_SHORT")
async def _(world: World) -> ServerError:
    """The stage knows what its work takes; a busy machine may use the time up before the stage is asked."""
    room = await world.build(mvloc={"batch_seconds": 0.5})
    for _ in range(50):
        await asyncio.gather(*(room.contact.Predict(request(world.photo), timeout=60) for _ in range(2)))
        found = await world.predict(room, timeout=0.45)
        if found.reason == "DEADLINE_TOO_SHORT":
            break
    return found


@way("CANCELLED")
async def _(world: World) -> ServerError:
    """Nobody is left to read it: it is counted."""
    room = await world.build(vlm={"batch_seconds": 0.5})
    method = "/interactvlm.v1.ContactService/Predict"
    counted = metrics.CALLS.labels(method, "CANCELLED", "CANCELLED")._value
    before = counted.get()
    call = room.contact.Predict(request(world.photo), timeout=60)
    await eventually(lambda: room.vlm.counts["started"] > 0, "the language stage computes")
    call.cancel()
    await eventually(lambda: counted.get() == before + 1, "the cancelled call is counted")
    return ServerError("counted", code="CANCELLED", reason="CANCELLED")


@way("NOT_IMPLEMENTED")
async def _(world: World) -> ServerError:
    asked = pb.ReconstructRequest(photo=world.photo, object={"name": "chair"})
    return await refusal((await world.build()).contact.Reconstruct(asked, timeout=30).read())


@way("LOADING")
async def _(world: World) -> ServerError:
    stage, ready = StubVlm(StubConfig()), asyncio.Event()
    load = stage.load

    async def slowly() -> None:
        await ready.wait()
        await load()

    stage.load = slowly  # type: ignore[method-assign]
    server = Server([stage], ServerConfig())
    starting = asyncio.create_task(server.start())
    try:
        await eventually(lambda: server.port > 0, "the server listens")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            info = vlm_service_pb2_grpc.VlmServiceStub(channel).GetModelInfo
            return await refusal(info(vlm_service_pb2.GetModelInfoRequest(), timeout=30, wait_for_ready=True))
    finally:
        ready.set()
        await starting
        await server.stop(grace=0)


@way("DRAINING")
async def _(world: World) -> ServerError:
    room = await world.build()

    async def endless() -> AsyncIterator[pb.PredictStreamRequest]:
        yield pb.PredictStreamRequest(item_id="1", request=request(world.photo))
        await asyncio.Event().wait()

    call = room.contact.PredictStream(endless(), timeout=60)
    await call.read()
    stopping = asyncio.create_task(room.orchestrator.stop())
    refused = await refusal(call.read())
    await stopping
    return refused


@way("STAGE_UNAVAILABLE")
async def _(world: World) -> ServerError:
    room = await world.build(balancing={"wait_seconds": 0.2})
    await room.stages["vlm"].stop(grace=0)
    return await world.predict(room)


@way("UNAVAILABLE")
async def _(world: World) -> ServerError:
    """In the middle of a rollout no checkpoint is live on both stages."""
    room = await world.build(vlm={"checkpoint": "b" * 64})
    return await refusal(room.contact.GetBody(pb.GetBodyRequest(), timeout=30))


@way("INTERNAL")
async def _(world: World) -> ServerError:
    return await world.predict(await world.build(), objects=[{"name": POISON}])


DOCUMENTED = dict(
    re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("reason", DOCUMENTED)
async def test_it_comes_about(
    reason: str, build_room: Build, photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = await WAYS[reason](World(build_room, photo, tmp_path, monkeypatch))
    assert (error.reason, error.code) == (reason, DOCUMENTED[reason])
    assert str(error)


async def test_there_is_no_other() -> None:
    assert WAYS.keys() == DOCUMENTED.keys()
