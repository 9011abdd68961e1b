"""A gRPC server with everything but the method: see `serve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import grpc

from services.runtime.config import ServerConfig

__all__ = ["Server", "Service", "serve"]


class Service(Protocol):
    """One proto service as the chassis sees it."""

    @property
    def name(self) -> str:
        """Fully qualified proto service ("interactvlm.v1.VlmService")."""
        ...

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicer (`add_VlmServiceServicer_to_server(self, server)`)."""
        ...

    async def load(self) -> None:
        """Bring models into memory and warm up; health is NOT_SERVING until this ends."""
        ...

    async def close(self) -> None:
        """Let go of everything; called after the last call ended."""
        ...

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer an operator's command (POST /admin/COMMAND on the internal port), e.g. "reload"."""
        ...


class Server:
    """The running thing (`serve` is this plus signals): `await start()`, use `port`, `await stop()`, which drains."""

    def __init__(self, services: Sequence[Service], config: ServerConfig) -> None:
        raise NotImplementedError

    port: int
    internal_port: int

    async def start(self) -> None:
        """Listen, load, report SERVING."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Report NOT_SERVING, let calls end, close."""
        raise NotImplementedError


async def serve(
    services: Sequence[Service], config: ServerConfig, *, ready: Callable[[int], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    raise NotImplementedError
