"""Every failure that only a server knows: gRPC code and reason string.

A handler raises one of these or an error of `interactvlm.errors`; `status.py` turns it into what the client sees. The
reasons stand in docs/errors.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from interactvlm.errors import InteractVLMError

__all__ = [
    "CatalogueReadOnly",
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
    "StageUnavailable",
    "TokenExpired",
    "TokenMissing",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]


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


class CatalogueReadOnly(ServiceError):
    """This server searches the embedded catalogue, to which nothing can be added."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CATALOGUE_READ_ONLY"


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
