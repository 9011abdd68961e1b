"""grpc.health.v1: what serves, told to whoever asks; watchers' streams end with the server.

Not grpcio-health-checking's own servicer: it holds a lock while it writes, so that a watcher who does not read would
hold up the report that the server drains; and its watches never end, so that each would hold up the drain to the last
second it may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["Health"]

_Status = health_pb2.HealthCheckResponse.ServingStatus
_Response = health_pb2.HealthCheckResponse
#: Nobody shows a token to watch; a watch takes a few kilobytes.
_MOST_WATCHES = 1000


class Health(health_pb2_grpc.HealthServicer):
    """The health service of a server; only touched from the event loop. The service "" is the server as a whole.

    Args:
        most_watches: streams of watchers at once; more are refused with RESOURCE_EXHAUSTED.
    """

    def __init__(self, *, most_watches: int = _MOST_WATCHES) -> None:
        self._watches_left = most_watches
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._ended = False

    @property
    def statuses(self) -> dict[str, str]:
        """Status names ("SERVING", "NOT_SERVING") by service."""
        return {name: _Status.Name(status) for name, status in self._statuses.items()}

    def report(self, name: str, *, serving: bool) -> None:
        """Say whether a service takes calls."""
        self._statuses[name] = _Response.SERVING if serving else _Response.NOT_SERVING
        self._wake()

    def end(self) -> None:
        """End all watches, once they have told the last status."""
        self._ended = True
        self._wake()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:  # noqa: N802
        """The status now; NOT_FOUND for a service that is not served here."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "this service is not served here")
        return _Response(status=status)

    async def List(  # noqa: N802
        self, request: health_pb2.HealthListRequest, context: Any
    ) -> Any:
        """The status of every service."""
        return health_pb2.HealthListResponse(
            statuses={name: _Response(status=status) for name, status in self._statuses.items()}
        )

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncIterator[Any]:
        """The status now and whenever it changes, until the server ends."""
        if not self._watches_left:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch the health of this server")
        self._watches_left -= 1
        try:
            told: int | None = None
            while True:
                changed = self._changed
                status = self._statuses.get(request.service, _Response.SERVICE_UNKNOWN)
                if status != told:
                    told = status
                    yield _Response(status=status)
                elif self._ended:
                    return
                else:
                    await changed.wait()
        finally:
            self._watches_left += 1

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
