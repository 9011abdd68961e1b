"""Errors on the wire: exceptions to `google.rpc.Status` and, from a stage's answer, back.

The interceptor turns what a handler raised into a status with an `ErrorInfo` whose domain is "interactvlm" and whose
reason stands in docs/errors.md. Library errors (`interactvlm.errors`) map by class, `services.runtime.errors` carry
their own code and reason. Anything else is INTERNAL without details: what happened stands in the log, under the request
id.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from interactvlm.errors import (
    CancelledError,
    CheckpointError,
    DeadlineExceededError,
    InputError,
    InteractVLMError,
    MeshError,
    MissingDependencyError,
    PhotoError,
    QuestionError,
)
from services.runtime.errors import ResourceExhausted, ServiceError, StageUnavailable

__all__ = [
    "DOMAIN",
    "PUSHBACK_KEY",
    "STATUS_DETAILS_KEY",
    "StageError",
    "from_rpc_error",
    "reason_of",
    "to_status",
    "to_trailers",
]

DOMAIN = "interactvlm"
#: Trailing metadata that carries the serialized google.rpc.Status.
STATUS_DETAILS_KEY = "grpc-status-details-bin"
#: Trailing metadata that tells a client when to come back.
PUSHBACK_KEY = "grpc-retry-pushback-ms"
#: Longest message on the wire: status and details share HTTP/2 headers of 8 KiB.
_LONGEST_MESSAGE = 1000


class StageError(ServiceError):
    """What a stage answered, passed on unchanged (`from_rpc_error` makes it)."""

    def __init__(self, status: status_pb2.Status, reason: str) -> None:
        super().__init__(status.message, retry_after=_retry_delay(status))
        self.code = _CODES_BY_NUMBER.get(status.code, grpc.StatusCode.INTERNAL)
        self.grpc_code = self.code.name
        self.reason = reason
        self.status = status


_CODES_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

#: Library errors, the most specific class first.
_LIBRARY: tuple[tuple[type[InteractVLMError], str], ...] = (
    (PhotoError, "PHOTO_INVALID"),
    (MeshError, "MESH_INVALID"),
    (QuestionError, "QUESTION_INVALID"),
    (InputError, "INPUT_INVALID"),
    (CheckpointError, "CHECKPOINT_UNUSABLE"),
    (MissingDependencyError, "DEPENDENCY_MISSING"),
    (DeadlineExceededError, "DEADLINE_EXCEEDED"),
    (CancelledError, "CANCELLED"),
)


def reason_of(error: BaseException) -> str:
    """The reason string of an exception."""
    if isinstance(error, ServiceError):
        return error.reason
    return next((reason for kind, reason in _LIBRARY if isinstance(error, kind)), ServiceError.reason)


def to_status(error: BaseException, *, request_id: str = "") -> status_pb2.Status:
    """The `google.rpc.Status` a client gets for an exception.

    Only deliberate errors (`InteractVLMError`) keep their message; others may quote contents or paths. What is wrong
    with a checkpoint is the operator's affair, too: it names folders of the server.
    """
    if isinstance(error, StageError):
        return error.status
    deliberate = isinstance(error, InteractVLMError)
    code_name = getattr(error, "grpc_code", "INTERNAL") if deliberate else "INTERNAL"
    message = str(error)[:_LONGEST_MESSAGE]
    if isinstance(error, CheckpointError) or not deliberate:
        what = "its checkpoint cannot be used" if deliberate else "the server failed"
        message = f"{what}; the operator finds the cause under the request id"
    info = error_details_pb2.ErrorInfo(domain=DOMAIN, reason=reason_of(error))
    if isinstance(error, ServiceError):
        info.metadata.update(error.metadata)
    details: list[Any] = [info]
    if isinstance(error, InputError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field[:_LONGEST_MESSAGE], description=error.problem[:_LONGEST_MESSAGE]
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, ServiceError) and error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if request_id:
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
    status = status_pb2.Status(code=code_pb2.Code.Value(code_name), message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def to_trailers(error: BaseException, status: status_pb2.Status) -> list[tuple[str, str | bytes]]:
    """Trailing metadata of a failed call: the status's details, and when to come back."""
    trailers: list[tuple[str, str | bytes]] = [(STATUS_DETAILS_KEY, status.SerializeToString())]
    if isinstance(error, ServiceError) and error.retry_after is not None:
        trailers.append((PUSHBACK_KEY, str(max(1, round(error.retry_after * 1000)))))
    return trailers


def from_rpc_error(error: grpc.aio.AioRpcError) -> InteractVLMError:
    """What a call to another service of ours ended with, as an error to raise here.

    A typed answer passes on unchanged, so the client sees the stage's own reason. What the client cannot mend (our
    own token refused, an untyped failure) becomes INTERNAL; an unreachable stage becomes STAGE_UNAVAILABLE.
    """
    code = error.code()
    status = _typed_status(error)
    ours = code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    if status is not None and not ours:
        return StageError(status, _error_info(status).reason)
    if code is grpc.StatusCode.UNAVAILABLE:
        return StageUnavailable("a stage of this server cannot be reached", retry_after=0.2)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError("the deadline passed before a stage answered")
    if code is grpc.StatusCode.CANCELLED:
        return CancelledError("the call to a stage was cancelled")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ResourceExhausted("a stage of this server refuses more work", retry_after=0.2)
    return ServiceError(f"a stage of this server failed ({code.name})")


def _typed_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                return None
            return status if _error_info(status).domain == DOMAIN else None
    return None


def _retry_delay(status: status_pb2.Status) -> float | None:
    info = error_details_pb2.RetryInfo()
    if any(detail.Unpack(info) for detail in status.details):
        return float(info.retry_delay.ToMilliseconds()) / 1000
    return None


def _error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            break
    return info
