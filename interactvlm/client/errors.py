"""Refusals and failures of a server as exceptions of this library.

::

    InteractVLMError
    └── ServerError                    anything a server answers that is no answer
        ├── RefusedInputError          INVALID_ARGUMENT; an InputError, too
        ├── ServerDeadlineError        DEADLINE_EXCEEDED; a DeadlineExceededError, too
        ├── ServerCancelledError       CANCELLED; a CancelledError, too
        ├── OverloadedError            RESOURCE_EXHAUSTED: come back after `retry_after`
        └── ServerUnavailableError     UNAVAILABLE, after the retries

What holds in process holds here: `except InputError` catches a bad photo on either side of the wire.
"""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from interactvlm.errors import CancelledError, DeadlineExceededError, InputError, InteractVLMError

__all__ = [
    "OverloadedError",
    "RefusedInputError",
    "ServerCancelledError",
    "ServerDeadlineError",
    "ServerError",
    "ServerUnavailableError",
    "from_call",
    "from_status",
    "hides_status",
]

_DETAILS_KEY = "grpc-status-details-bin"


class ServerError(InteractVLMError):
    """A server's refusal or failure.

    Attributes:
        code: name of the gRPC status code ("NOT_FOUND").
        reason: the stable reason of docs/errors.md ("MESH_NOT_FOUND"), "" where the server told none (a proxy, or no
            server at all).
        metadata: what the server adds to the reason.
        retry_after: seconds after which the same call may succeed, None where the server does not say.
        request_id: under which the operator finds the call in the server's logs, "" where the server told none.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        metadata: dict[str, str] | None = None,
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        Exception.__init__(self, message)  # not super(): InputError composes its message of two parts
        self.grpc_code = code
        self.reason = reason
        self.metadata = metadata or {}
        self.retry_after = retry_after
        self.request_id = request_id

    @property
    def code(self) -> str:
        """Name of the gRPC status code."""
        return self.grpc_code


class RefusedInputError(ServerError, InputError):
    """The server found the input wrong; `field` and `problem` as in `InputError`."""

    exit_code = InputError.exit_code
    field = ""
    problem = ""


class ServerDeadlineError(ServerError, DeadlineExceededError):
    """The time given to the call ran out, here or at the server."""

    exit_code = DeadlineExceededError.exit_code


class ServerCancelledError(ServerError, CancelledError):
    """The call was cancelled."""

    exit_code = CancelledError.exit_code


class OverloadedError(ServerError):
    """The server is full, or the caller's quota is used up."""


class ServerUnavailableError(ServerError):
    """Nobody answers, in spite of the retries."""


_CLASSES: dict[str, type[ServerError]] = {
    "INVALID_ARGUMENT": RefusedInputError,
    "DEADLINE_EXCEEDED": ServerDeadlineError,
    "CANCELLED": ServerCancelledError,
    "RESOURCE_EXHAUSTED": OverloadedError,
    "UNAVAILABLE": ServerUnavailableError,
}
_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def from_status(status: status_pb2.Status) -> ServerError:
    """The exception for a `google.rpc.Status`, of a call or of one item."""
    code = _CODE_NAMES.get(status.code, "UNKNOWN")
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    bad, call = error_details_pb2.BadRequest(), error_details_pb2.RequestInfo()
    for detail in status.details:
        next((found for found in (info, retry, bad, call) if detail.Unpack(found)), None)
    delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if retry.HasField("retry_delay") else None
    message = status.message or f"the server answered {code}"
    if code == "INTERNAL" and call.request_id:
        message = f"{message} (request id {call.request_id})"
    error = _CLASSES.get(code, ServerError)(
        message,
        code=code,
        reason=info.reason,
        metadata=dict(info.metadata),
        retry_after=delay,
        request_id=call.request_id,
    )
    if isinstance(error, RefusedInputError) and bad.field_violations:
        error.field, error.problem = bad.field_violations[0].field, bad.field_violations[0].description
    return error


def from_call(error: aio.AioRpcError, target: str) -> ServerError:
    """The exception for a call that ended with `error`."""
    details = (error.trailing_metadata() or {}).get(_DETAILS_KEY)
    if isinstance(details, bytes):
        try:
            status = status_pb2.Status.FromString(details)
        except DecodeError:
            status = status_pb2.Status()
        if status.code == error.code().value[0]:  # else a proxy changed the one and not the other
            return from_status(status)
    message = error.details() or f"{target} answered {error.code().name}"
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        message = f"{target} cannot be reached ({message})"
    elif error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"{target} gave no answer in time"
    return from_status(status_pb2.Status(code=error.code().value[0], message=message))


def hides_status(error: aio.AioRpcError) -> bool:
    """Whether a write that met a call which just ended hid the server's status under an INTERNAL of grpc.aio's own."""
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"
