from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from interactvlm.v1 import fitting_service_pb2, fitting_service_pb2_grpc
from services.fitting.servicer import FittingService
from services.runtime.server import Server


async def test_it_serves_and_says_what_is_missing(
    start_server: Callable[..., Awaitable[Server]], connect: Callable[[Server], grpc.aio.Channel]
) -> None:
    stub = fitting_service_pb2_grpc.FittingServiceStub(connect(await start_server(FittingService())))
    for call in (anext(aiter(stub.Fit(fitting_service_pb2.FitRequest()))),):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "fitting engine" in caught.value.details()
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        info = error_details_pb2.ErrorInfo()
        assert any(detail.Unpack(info) for detail in status_pb2.Status.FromString(details).details)
        assert info.reason == "NOT_IMPLEMENTED"
