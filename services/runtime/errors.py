"""Every failure a client can see: gRPC code, reason string, details.

A handler raises; the interceptor turns what was raised into a `google.rpc.Status` with an `ErrorInfo` whose domain is
"interactvlm" and whose reason stands in docs/errors.md. Library errors (`interactvlm.errors`) map by class; errors that
only servers know are below. Anything else is INTERNAL without details: what happened stands in the log, under the
request id.
"""

from __future__ import annotations

from collections.abc import Mapping
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

__all__ = [
    "DOMAIN",
    "PUSHBACK_KEY",
    "STATUS_DETAILS_KEY",
    "CheckpointNotLive",
    "DeadlineTooShort",
    "Draining",
    "Loading",
    "MeshMissing",
    "MeshNotFound",
    "NotFound",
    "PermissionDenied",
    "QueueFull",
    "QuotaExceeded",
    "RequestIdReused",
    "ResourceExhausted",
    "ServerBusy",
    "ServiceError",
    "StageError",
    "StageUnavailable",
    "TokenExpired",
    "TokenMissing",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
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


class ServiceError(InteractVLMError):
    """An error that only a server knows.

    Args:
        message: one sentence for the caller: field, value, limit.
        metadata: values a program can act on; goes into ErrorInfo.
        retry_after: seconds after which a repeat makes sense; goes into RetryInfo and, with RESOURCE_EXHAUSTED or
            UNAVAILABLE, into the trailing metadata `grpc-retry-pushback-ms`.
    """

    code: grpc.StatusCode = grpc.StatusCode.INTERNAL
    reason: str = "INTERNAL"

    def __init__(
        self, message: str, *, metadata: Mapping[str, str] | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.grpc_code = self.code.name


class Unauthenticated(ServiceError):
    """The token is unknown."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "TOKEN_UNKNOWN"


class TokenMissing(Unauthenticated):
    """No bearer token came along."""

    reason = "TOKEN_MISSING"


class TokenExpired(Unauthenticated):
    """The token's time is over."""

    reason = "TOKEN_EXPIRED"


class PermissionDenied(ServiceError):
    """The token is known but lacks the scope."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "SCOPE_MISSING"


class ResourceExhausted(ServiceError):
    """A bound of the server is reached; trying again later helps."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"


class QueueFull(ResourceExhausted):
    """The stage has as much waiting work as it can finish in time."""

    reason = "QUEUE_FULL"


class ServerBusy(ResourceExhausted):
    """The process has as many calls inside as it may hold."""

    reason = "SERVER_BUSY"


class QuotaExceeded(ResourceExhausted):
    """The owner's own limit is reached, whatever the server could do."""

    reason = "QUOTA_EXCEEDED"


class DeadlineTooShort(ServiceError):
    """The work would end after the caller's deadline, so it was not begun."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_TOO_SHORT"


class MeshMissing(ServiceError):
    """This stage does not hold the mesh: push it with PutMesh, then repeat."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "MESH_MISSING"


class NotFound(ServiceError):
    """Nothing of that name belongs to the caller (existing for another owner looks the same)."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class CheckpointNotLive(NotFound):
    """The request pins a checkpoint that this server does not hold."""

    reason = "CHECKPOINT_NOT_LIVE"


class MeshNotFound(NotFound):
    """The caller keeps no such mesh: upload it (again)."""

    reason = "MESH_NOT_FOUND"


class RequestIdReused(ServiceError):
    """The same request_id came with another content."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"


class Unimplemented(ServiceError):
    """The contract has it, this version does not."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "NOT_IMPLEMENTED"


class Unavailable(ServiceError):
    """The server cannot work now; another replica or a later moment can."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"


class Loading(Unavailable):
    """The models are not in memory yet."""

    reason = "LOADING"


class Draining(Unavailable):
    """The server finishes what it has and takes nothing new."""

    reason = "DRAINING"


class StageUnavailable(Unavailable):
    """No replica of a stage could be reached."""

    reason = "STAGE_UNAVAILABLE"


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

    Only deliberate errors (`InteractVLMError`) keep their message; others may quote contents or paths.
    """
    if isinstance(error, StageError):
        return error.status
    deliberate = isinstance(error, InteractVLMError)
    code_name = getattr(error, "grpc_code", "INTERNAL") if deliberate else "INTERNAL"
    message = str(error) if deliberate else "the server failed; the operator finds the cause under the request id"
    message = message[:_LONGEST_MESSAGE]
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
