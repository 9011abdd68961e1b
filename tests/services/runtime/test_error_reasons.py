from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

import services
from interactvlm import errors as library
from services.runtime.errors import ServiceError
from services.runtime.status import StageError, from_rpc_error, reason_of, to_status

DOCUMENT = Path(__file__).parents[3] / "docs" / "errors.md"
LIBRARY = (
    library.PhotoError("photo", "is bad"),
    library.MeshError("mesh", "is bad"),
    library.QuestionError("question", "is bad"),
    library.InputError("field", "is bad"),
    library.CheckpointError("folder", "is bad"),
    library.MissingDependencyError("torch", "vlm"),
    library.DeadlineExceededError("late"),
    library.CancelledError("gone"),
)


def service_errors() -> Iterator[type[ServiceError]]:
    """Every error class of every service."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting = [ServiceError]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        # Errors that tests define are no part of the product.
        if kind is not StageError and kind.__module__.startswith("services."):
            yield kind


def every_error() -> dict[str, library.InteractVLMError]:
    made: list[library.InteractVLMError] = [*LIBRARY]
    made.extend(kind("a sentence", metadata={"key": "value"}, retry_after=1.5) for kind in service_errors())
    return {reason_of(error): error for error in made}


def documented() -> dict[str, str]:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \| .+ \| .+ \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


class RaisingService:
    """Raises the error its request names."""

    name = "interactvlm.test.RaisingService"

    def __init__(self, errors: Mapping[str, Exception]) -> None:
        self._errors = errors

    def register(self, server: grpc.aio.Server) -> None:
        handlers = {"Raise": grpc.unary_unary_rpc_method_handler(self.answer)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, handlers),))

    async def load(self) -> None: ...

    async def close(self) -> None: ...

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}

    async def answer(self, request: bytes, context: Any) -> bytes:
        raise self._errors[request.decode()]


def test_every_reason_is_documented_and_nothing_else_is():
    assert documented() == {reason: error.grpc_code for reason, error in every_error().items()}
    missing = set(library.__all__) - {type(error).__name__ for error in LIBRARY} - {"InteractVLMError"}
    assert not missing


async def test_every_documented_error_arrives_as_documented(start_server, connect):
    errors = every_error()
    service = RaisingService(errors)
    raising = connect(await start_server(service)).unary_unary(f"/{service.name}/Raise")
    for reason, code in documented().items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raising(reason.encode(), timeout=10)
        error = caught.value
        assert error.code().name == code, reason
        trailers = dict(error.trailing_metadata())
        status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (info.domain, info.reason) == ("interactvlm", reason)
        assert status.message == error.details()
        if isinstance(errors[reason], ServiceError):
            assert info.metadata["key"] == "value"
            assert trailers["grpc-retry-pushback-ms"] == "1500"
        if code not in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            passed = from_rpc_error(error)
            assert isinstance(passed, StageError)
            assert (passed.reason, passed.grpc_code) == (reason, code)


def test_long_messages_fit_into_headers():
    status = to_status(library.InputError("field", "x" * 50_000), request_id="r")
    assert status.code == code_pb2.INVALID_ARGUMENT
    assert len(status.SerializeToString()) < 4000
