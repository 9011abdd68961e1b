from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from interactvlm.v1 import retrieval_service_pb2, retrieval_service_pb2_grpc
from services.retrieval.servicer import RetrievalService
from services.runtime.server import Server


async def test_it_serves_and_says_what_is_missing(
    start_server: Callable[..., Awaitable[Server]], connect: Callable[[Server], grpc.aio.Channel]
) -> None:
    stub = retrieval_service_pb2_grpc.RetrievalServiceStub(connect(await start_server(RetrievalService())))
    meshes = stub.DownloadMesh(retrieval_service_pb2.DownloadMeshRequest())
    for call in (stub.Search(retrieval_service_pb2.SearchRequest(text="cup")), anext(aiter(meshes))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "this version has no catalogue" in caught.value.details()
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        info = error_details_pb2.ErrorInfo()
        assert any(detail.Unpack(info) for detail in status_pb2.Status.FromString(details).details)
        assert info.reason == "NOT_IMPLEMENTED"
