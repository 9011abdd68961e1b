"""RetrievalService at the orchestrator: what callers ask reaches the stage, what it answers comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from interactvlm.errors import InputError
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.v1 import retrieval_service_pb2_grpc
from services.orchestrator.config import BalancingConfig, OrchestratorConfig, StageConfig
from services.orchestrator.retrieval import RetrievalService
from services.runtime.calls import Call, current_call
from services.runtime.errors import NotFound, Unavailable
from services.runtime.server import Server

SHA = "d" * 64
PIECES = [b"glTF", b"and", b"more"]


class FakeRetrieval(retrieval_service_pb2_grpc.RetrievalServiceServicer):
    name = "interactvlm.v1.RetrievalService"

    def __init__(self) -> None:
        self.seen: list[Call] = []
        self.error: Exception | None = None
        self.delay = 0.0
        self.whole = True
        self.cancelled = 0

    def register(self, server: grpc.aio.Server) -> None:
        retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(self, server)

    async def load(self) -> None: ...

    async def close(self) -> None: ...

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}

    async def _act(self) -> None:
        self.seen.append(current_call())
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        await self._act()
        return pb.SearchResponse(hits=[pb.SearchHit(id=request.text)], index_version="9")

    async def ListMeshes(self, request: pb.ListMeshesRequest, context: Any) -> pb.ListMeshesResponse:
        await self._act()
        return pb.ListMeshesResponse(next_page_token=request.category)

    async def DownloadMesh(self, request: pb.DownloadMeshRequest, context: Any) -> AsyncIterator[Any]:
        await self._act()
        for piece in PIECES:
            yield pb.DownloadMeshResponse(chunk=piece, total_bytes=11)
            if not self.whole:
                raise NotFound("mesh_sha256: went away")


@dataclass
class House:
    stages: list[FakeRetrieval]
    server: Server
    stub: Any
    service: RetrievalService

    async def download(self, sha256: str = SHA, **rest: Any) -> bytes:
        call = self.stub.DownloadMesh(pb.DownloadMeshRequest(mesh_sha256=sha256), **rest)
        return b"".join([piece.chunk async for piece in call])


@pytest.fixture
def build(
    start_server: Callable[..., Awaitable[Server]], connect: Callable[..., grpc.aio.Channel]
) -> Callable[..., Awaitable[House]]:
    logging.getLogger("services.orchestrator").setLevel(logging.ERROR)

    async def make(count: int = 1, **settings: Any) -> House:
        stages = [FakeRetrieval() for _ in range(count)]
        targets = tuple([f"127.0.0.1:{(await start_server(stage)).port}" for stage in stages])
        balancing = BalancingConfig(probe_seconds=0.5, hedge_ratio=0.0, wait_seconds=0.5)
        service = RetrievalService(OrchestratorConfig(retrieval=StageConfig(targets), balancing=balancing))
        server = await start_server(service, **settings)
        stub = retrieval_service_pb2_grpc.RetrievalServiceStub(connect(server))
        return House(stages, server, stub, service)

    return make


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return caught.value.code().name, info.reason


async def test_a_search_goes_to_the_stage_with_all_that_belongs_to_it(build: Any) -> None:
    house = await build()
    metadata = [("interactvlm-owner", "alice"), ("interactvlm-request-id", "r-1"), ("interactvlm-priority", "batch")]
    response = await house.stub.Search(pb.SearchRequest(text="cup"), timeout=20, metadata=metadata)
    assert ([hit.id for hit in response.hits], response.index_version) == (["cup"], "9")
    (call,) = house.stages[0].seen
    assert (call.owner, call.request_id, call.priority.wire) == ("alice", "r-1", "batch")
    remaining = call.context.remaining()
    assert remaining is not None
    assert remaining < 20
    assert await house.download(metadata=metadata, timeout=20) == b"glTFandmore"
    listed = await house.stub.ListMeshes(pb.ListMeshesRequest(category="cup"), metadata=metadata)
    assert listed.next_page_token == "cup"
    assert [call.owner for call in house.stages[0].seen] == ["alice"] * 3


async def test_the_stages_errors_come_back_unchanged(build: Any) -> None:
    house = await build()
    house.stages[0].error = InputError("text", "is no word")
    assert await refusal(house.stub.Search(pb.SearchRequest(text="x"))) == ("INVALID_ARGUMENT", "INPUT_INVALID")
    house.stages[0].error = NotFound("mesh_sha256: is not there")
    assert await refusal(house.download()) == ("NOT_FOUND", "NOT_FOUND")
    assert await refusal(house.download("../x")) == ("INVALID_ARGUMENT", "INPUT_INVALID")
    house.stages[0].error, house.stages[0].whole = None, False
    assert await refusal(house.download()) == ("NOT_FOUND", "NOT_FOUND")


async def test_another_replica_answers_for_one_that_cannot(build: Any) -> None:
    house = await build(2)
    house.stages[0].error = Unavailable("leaving")
    for _ in range(6):
        assert (await house.stub.Search(pb.SearchRequest(text="cup"))).hits[0].id == "cup"
        assert await house.download() == b"glTFandmore"
    seen = await house.service.admin("replicas", {})
    assert [replica["serving"] for replica in seen["retrieval"]] == [True, True]


@pytest.mark.parametrize("method", ["Search", "DownloadMesh"])
async def test_a_caller_who_leaves_ends_the_stages_work(build: Any, method: str) -> None:
    house = await build()
    house.stages[0].delay = 30
    work = house.stub.Search(pb.SearchRequest(text="cup")) if method == "Search" else house.download()
    asked = asyncio.ensure_future(work)
    async with asyncio.timeout(20):
        while not house.stages[0].seen:
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        while not house.stages[0].cancelled:
            await asyncio.sleep(0.01)
    assert house.stages[0].cancelled == 1


async def test_the_deadline_is_the_callers(build: Any) -> None:
    house = await build()
    house.stages[0].delay = 30
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.stub.Search(pb.SearchRequest(text="cup"), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stage_that_is_gone(build: Any) -> None:
    house = await build()
    await house.service._stage.pool.replicas[0].close()
    house.service._stage.pool.replicas[0]._tell(reported=False)
    for call in (house.stub.Search(pb.SearchRequest(text="cup")), house.download()):
        assert await refusal(call) == ("UNAVAILABLE", "STAGE_UNAVAILABLE")


async def test_without_a_stage_it_says_so(build: Any) -> None:
    house = await build(0)
    listed = house.stub.ListMeshes(pb.ListMeshesRequest())
    for call in (house.stub.Search(pb.SearchRequest(text="cup")), house.download(), listed):
        assert await refusal(call) == ("UNIMPLEMENTED", "NOT_IMPLEMENTED")
    assert await house.service.admin("replicas", {}) == {}


async def test_a_token_needs_the_scope(build: Any, write_tokens: Any, token_entry: Any) -> None:
    tokens = write_tokens(token_entry("a", "alice", ("contact",)), token_entry("b", "bob", ("retrieval",)))
    house = await build(tokens_file=str(tokens))
    asked = pb.SearchRequest(text="cup")
    assert await refusal(house.stub.Search(asked, metadata=[("authorization", "Bearer a")])) == (
        "PERMISSION_DENIED",
        "SCOPE_MISSING",
    )
    assert (await house.stub.Search(asked, metadata=[("authorization", "Bearer b")])).hits
    assert house.stages[0].seen[-1].owner == "bob"
