"""A service that gives back what it gets, behind everything the chassis does.

It measures the chassis itself (benchmarks) and lets tests see it without a model. There is no proto:
messages are bytes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from interactvlm.errors import InputError
from services.runtime.batching import Batcher, BatchLimits, DeviceWorker
from services.runtime.calls import current_call

__all__ = ["ECHO", "ECHO_STREAM", "IDENTITY", "IdentityService"]

IDENTITY = "interactvlm.identity.IdentityService"
ECHO = f"/{IDENTITY}/Echo"
ECHO_STREAM = f"/{IDENTITY}/EchoStream"


class IdentityService:
    """Echo through a batcher.

    Args:
        batch_seconds: how long the engine takes for a batch.
        item_seconds: and how much longer for each item.
        limits: of the batcher.

    Attributes:
        expired_started: items that began after their deadline (must stay 0).
        batches: batches run.
    """

    name = IDENTITY

    def __init__(
        self, *, batch_seconds: float = 0.0, item_seconds: float = 0.0, limits: BatchLimits | None = None
    ) -> None:
        self._batch_seconds = batch_seconds
        self._item_seconds = item_seconds
        self._limits = limits or BatchLimits()
        self.expired_started = 0
        self.batches = 0

    def register(self, server: grpc.aio.Server) -> None:
        """See `Service`."""
        handlers: dict[str, Any] = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "EchoStream": grpc.stream_stream_rpc_method_handler(self.echo_stream),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, handlers),))

    async def load(self) -> None:
        """See `Service`."""
        self._worker = DeviceWorker("identity")
        self._batcher: Batcher[tuple[bytes, float | None], bytes] = Batcher(
            self._compute, cost=lambda item: 1.0, limits=self._limits, worker=self._worker, name="identity"
        )

    async def close(self) -> None:
        """See `Service`."""
        await self._batcher.drain()
        self._worker.close()

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Only "counts"; see `Service`."""
        if command != "counts" or arguments:
            raise InputError("command", f"{command!r} is not known; known: counts, without arguments")
        return {"expired_started": self.expired_started, "batches": self.batches}

    async def echo(self, request: bytes, context: object) -> bytes:
        """The request, once its batch ran."""
        call = current_call()
        return await self._batcher.submit((request, call.context.deadline), call)

    async def echo_stream(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        """Each request, in order."""
        async for request in requests:
            yield await self.echo(request, context)

    def _compute(self, items: list[tuple[bytes, float | None]]) -> list[bytes]:
        now = time.monotonic()
        self.expired_started += sum(deadline is not None and deadline <= now for _, deadline in items)
        self.batches += 1
        if seconds := self._batch_seconds + self._item_seconds * len(items):
            time.sleep(seconds)
        return [request for request, _ in items]
