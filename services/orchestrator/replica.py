"""One replica of a stage: its channel, what runs on it, and whether it can take more.

Two sources tell whether it serves: its own word (`grpc.health.v1` Watch: loading, draining) and short probes, because
a frozen process takes nothing back. Calls on a frozen replica end as `ReplicaLostError` and can be tried elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["Replica", "ReplicaLostError"]

T = TypeVar("T")

_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 2.0
_LOST_PROBES = 2
_CLOSING_SECONDS = 60.0


class ReplicaLostError(Exception):
    """The replica froze, or its connection was closed, while the call was on it."""


class Replica:
    """A channel to one process of a stage.

    Args:
        address: where it is; names it, too.
        channel: closed with the replica.
        service: the gRPC service whose health counts.
        probe_seconds: between two probes, and the time one may take.
        changed: called when `serving` changes.
    """

    def __init__(
        self,
        address: str,
        channel: grpc.aio.Channel,
        *,
        service: str,
        probe_seconds: float,
        changed: Callable[[Replica], None],
    ) -> None:
        self.address = address
        self.channel = channel
        self.checkpoints: frozenset[str] | None = None
        """Checkpoints known to be live there; None while unknown."""
        self.failures = 0
        self.ejections = 0
        self.ejected_until = 0.0
        self._health_request = health_pb2.HealthCheckRequest(service=service)
        self._probe_seconds = probe_seconds
        self._changed = changed
        self._reported = False
        self._frozen = False
        self._stubs: dict[Callable[[grpc.aio.Channel], Any], Any] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._given_up: set[asyncio.Task[Any]] = set()
        self._watching = [asyncio.create_task(self._watch()), asyncio.create_task(self._probe())]

    def stub(self, kind: Callable[[grpc.aio.Channel], T]) -> T:
        """The generated stub of a service on this replica, made once."""
        if kind not in self._stubs:
            self._stubs[kind] = kind(self.channel)
        return cast("T", self._stubs[kind])

    @property
    def serving(self) -> bool:
        """Whether calls can be sent there."""
        return self._reported and not self._frozen

    @property
    def frozen(self) -> bool:
        """Whether it answers nothing at all, although it was there."""
        return self._frozen

    @property
    def ejected(self) -> bool:
        """Whether it failed too often and rests."""
        return time.monotonic() < self.ejected_until

    @property
    def outstanding(self) -> int:
        """Calls on it now."""
        return len(self._running)

    async def run(self, call: Callable[[Replica], Awaitable[T]]) -> T:
        """Make a call on this replica, in a task that has nothing else to do.

        Raises:
            ReplicaLostError: the replica was lost; whatever the call raises otherwise.
        """
        mine = cast("asyncio.Task[T]", asyncio.current_task())
        self._running.add(mine)
        try:
            return await call(self)
        except asyncio.CancelledError:
            if mine in self._given_up:
                mine.uncancel()
            if not mine.cancelling():  # the call was cancelled, not who waits for it
                raise ReplicaLostError(self.address) from None
            raise
        finally:
            self._running.discard(mine)
            self._given_up.discard(mine)

    def give_up_calls(self) -> None:
        """End the calls on it: somebody else can answer them."""
        for task in self._running - self._given_up:
            self._given_up.add(task)
            task.cancel()

    async def close(self) -> None:
        """Let go of it: calls on it may end, new ones are not made."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait(self._running, timeout=_CLOSING_SECONDS)
        await self.channel.close()

    def _tell(self, *, reported: bool | None = None, frozen: bool | None = None) -> None:
        before = self.serving
        self._reported = self._reported if reported is None else reported
        self._frozen = self._frozen if frozen is None else frozen
        if self.serving != before:
            self.checkpoints = None  # it may come back with others
            self._changed(self)

    async def _watch(self) -> None:
        backoff = _FIRST_BACKOFF
        while True:
            try:
                if await self._asked():
                    backoff = _FIRST_BACKOFF
                    self._tell(reported=True)
                    await self._until_not_serving()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:  # it has no health service: its word is the calls'
                    self._tell(reported=True)
                    return
            self._tell(reported=False)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            backoff = min(2 * backoff, _LAST_BACKOFF)

    async def _asked(self) -> bool:
        answer = await self.stub(health_pb2_grpc.HealthStub).Check(self._health_request, timeout=self._probe_seconds)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _until_not_serving(self) -> None:
        """Follow its word; a server that drains is not followed any further, so that it can end."""
        watch = self.stub(health_pb2_grpc.HealthStub).Watch(self._health_request)
        try:
            async for answer in watch:
                if answer.status != health_pb2.HealthCheckResponse.SERVING:
                    return
        finally:
            watch.cancel()

    async def _probe(self) -> None:
        lost = 0
        while True:
            await asyncio.sleep(self._probe_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            try:
                await self._asked()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
                lost = lost + 1 if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else 0
            else:
                lost = 0
            self._tell(frozen=lost >= _LOST_PROBES)
