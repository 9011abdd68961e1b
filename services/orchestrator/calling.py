"""One call to a stage, made to end well: another replica after UNAVAILABLE, a second request when the first is slow.

Every call here only reads: repeating it changes nothing. Both kinds of extra requests are paid from budgets that
ordinary calls earn; RESOURCE_EXHAUSTED is never repeated, because it asks for less load. A replica that no longer holds
the checkpoint (a rollout) has done no work: the call goes to one that does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

import grpc

from interactvlm.errors import InteractVLMError
from interactvlm.stages import CallContext
from services.orchestrator.balancing import ReplicaPool
from services.orchestrator.budgets import Budget, LatencyWindow
from services.orchestrator.config import BalancingConfig
from services.orchestrator.metrics import EXTRA_REQUESTS
from services.orchestrator.replica import Replica, ReplicaLostError
from services.runtime.errors import CheckpointNotLive, ServiceError, StageUnavailable
from services.runtime.status import from_rpc_error

__all__ = ["Attempt", "StageCaller"]

T = TypeVar("T")
Attempt = Callable[[Replica], Awaitable[T]]

_FIRST_BACKOFF, _LAST_BACKOFF = 0.02, 1.0
_SHORTEST_HEDGE_DELAY = 0.005
_PRESSED_SECONDS = 5.0
_STUCK = 4
_HEDGE_BURST = 10.0
#: The replica is at fault, whoever sent what.
_FAULTS = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})


class StageCaller:
    """Calls to one stage.

    Args:
        pool: its replicas.
        config: attempts and budgets.
    """

    def __init__(self, pool: ReplicaPool, config: BalancingConfig) -> None:
        self.pool = pool
        self._config = config
        self._retries = Budget(ratio=config.retry_ratio, burst=config.retry_burst)
        self._hedges = Budget(ratio=config.hedge_ratio, burst=_HEDGE_BURST if config.hedge_ratio else 0.0)
        self._latency: dict[str, LatencyWindow] = {}
        self._pressed_until = 0.0

    async def call(
        self, attempt: Attempt[T], *, method: str, context: CallContext, key: str = "", checkpoint: str = ""
    ) -> T:
        """Make a call.

        Args:
            attempt: makes it on a given replica, within the context's deadline; may run several times.
            method: calls of one method are compared to each other when one is slow.
            context: the caller's deadline.
            key: see `ReplicaPool.pick`.
            checkpoint: see `ReplicaPool.pick`.

        Raises:
            InteractVLMError: what the stage answered, or that it could not be reached in time.
        """
        self._retries.earn()
        self._hedges.earn()
        avoid: list[Replica] = []
        for number in range(1, self._config.max_attempts + 1):
            replica = await self.pool.pick(context=context, key=key, checkpoint=checkpoint, avoid=avoid)
            try:
                return await self._maybe_twice(attempt, replica, method, key, checkpoint)
            except (grpc.aio.AioRpcError, ReplicaLostError) as error:
                context.check()
                raised = self._as_error(error)
                if checkpoint and isinstance(raised, ServiceError) and raised.reason == CheckpointNotLive.reason:
                    replica.checkpoints = (replica.checkpoints or frozenset()) - {checkpoint}
                    elsewhere = self.pool.choose(checkpoint=checkpoint, avoid=(*avoid, replica), only_others=True)
                else:
                    elsewhere = replica if _is_gone(error) else None
                if elsewhere is None or number == self._config.max_attempts or not self._retries.spend():
                    raise raised from error
                EXTRA_REQUESTS.labels(self.pool.name, "retry").inc()
                avoid.append(replica)
                backoff = min(_FIRST_BACKOFF * 2**number, _LAST_BACKOFF)
                await asyncio.sleep(backoff * random.random())  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    async def _maybe_twice(self, attempt: Attempt[T], replica: Replica, method: str, key: str, checkpoint: str) -> T:
        """The call, and past the method's 95th percentile the same call on an idler replica; the first answer wins."""
        latency = self._latency.setdefault(method, LatencyWindow())
        first = asyncio.create_task(self._once(attempt, replica, latency))
        running = {first}
        try:
            if latency.p95 is not None and self._config.hedge_ratio:
                other = await self._slow(first, replica, max(latency.p95, _SHORTEST_HEDGE_DELAY), key, checkpoint)
                if other is not None:
                    EXTRA_REQUESTS.labels(self.pool.name, "hedge").inc()
                    running.add(asyncio.create_task(self._once(attempt, other, latency)))
            pending = running if len(running) > 1 else set()
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task.exception() is None:
                        if not first.done():
                            self.pool.failed(replica)  # outrun: once is nothing, time after time it is ejected
                        return task.result()
            return await first  # or raises
        finally:
            await _end(running)

    async def _slow(
        self, first: asyncio.Future[T], replica: Replica, usual: float, key: str, checkpoint: str
    ) -> Replica | None:
        """Wait for the call; past the usual time, the replica that shall get it, too; None once the call has ended.

        At first only a replica with at most half the work of the slow one will do: there a second request costs next
        to nothing. A call that is far beyond the usual is stuck, and any replica that is no busier will do.
        """
        waited = 0.0
        while True:
            await asyncio.wait({first}, timeout=max(usual, waited))
            if first.done():
                return None
            waited += max(usual, waited)
            if time.monotonic() < self._pressed_until:
                continue
            other = self.pool.choose(key=key, checkpoint=checkpoint, avoid=(replica,), only_others=True)
            if other is None:
                continue
            if replica.ejected:  # it gets no new calls: what is on it is bounded
                return other
            share = 1 if waited >= _STUCK * usual else 2
            if share * other.outstanding <= replica.outstanding and self._hedges.spend():
                return other

    async def _once(self, attempt: Attempt[T], replica: Replica, latency: LatencyWindow) -> T:
        begin = time.monotonic()
        try:
            answer = await replica.run(attempt)
        except grpc.aio.AioRpcError as error:
            if error.code() in _FAULTS:
                self.pool.failed(replica)
            elif error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                self._pressed_until = time.monotonic() + _PRESSED_SECONDS
            raise
        except ReplicaLostError:
            self.pool.failed(replica)
            raise
        self.pool.succeeded(replica)
        latency.add(time.monotonic() - begin)
        return answer

    def _as_error(self, error: grpc.aio.AioRpcError | ReplicaLostError) -> InteractVLMError:
        if isinstance(error, ReplicaLostError) or error.code() is grpc.StatusCode.CANCELLED:
            return StageUnavailable(
                f"the replica of {self.pool.name} that had the call was lost",
                metadata={"stage": self.pool.name},
                retry_after=1.0,
            )
        return from_rpc_error(error)


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel what still runs; whatever the others ended with has been seen."""
    for task in tasks:
        task.cancel()
    if all(task.done() for task in tasks):  # as nearly always: nothing to wait for
        for task in tasks:
            _ = task.cancelled() or task.exception()
    else:
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_gone(error: grpc.aio.AioRpcError | ReplicaLostError) -> bool:
    """Whether the replica itself was lost. CANCELLED that we did not ask for is a server that was shut down."""
    return isinstance(error, ReplicaLostError) or error.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    )
