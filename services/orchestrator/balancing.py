"""Which replica takes a call: least outstanding of two random ones, or rendezvous hashing for what a replica caches.

Replicas come from `Discovery`. One that fails time after time is ejected for a while, but never more than half of them:
when many fail the fault lies elsewhere, and a small pool that shrinks further only makes it worse.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import grpc

from interactvlm.stages import CallContext
from services.orchestrator.config import BalancingConfig
from services.orchestrator.discovery import Address, Discovery
from services.orchestrator.replica import Replica
from services.runtime.errors import StageUnavailable

__all__ = ["ReplicaPool", "rendezvous_order"]

#: A replica takes a key's calls as long as it has at most this many times the mean load (bounded-load hashing).
_LOAD_FACTOR, _LOAD_FLOOR = 2.0, 4
_MAX_EJECTION_FACTOR = 10
_log = logging.getLogger(__name__)


class ReplicaPool:
    """The replicas of one stage.

    Args:
        name: of the stage, for errors and metrics ("vlm").
        service: its gRPC service, whose health counts.
        discovery: where replicas are.
        connect: opens a channel to an address.
        config: the constants.
    """

    def __init__(
        self,
        *,
        name: str,
        service: str,
        discovery: Discovery,
        connect: Callable[[Address], grpc.aio.Channel],
        config: BalancingConfig,
    ) -> None:
        self.name = name
        self._service = service
        self._discovery = discovery
        self._connect = connect
        self._config = config
        self._replicas: dict[Address, Replica] = {}
        self._changed = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    @property
    def replicas(self) -> list[Replica]:
        """All that are known, serving or not."""
        return list(self._replicas.values())

    async def start(self) -> None:
        """Connect to the replicas and keep looking for them."""
        await self._refresh()
        if self._discovery.changes:
            self._spawn(self._keep_looking())

    async def close(self) -> None:
        """Let go of all replicas."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        replicas, self._replicas = self.replicas, {}
        await asyncio.gather(*(replica.close() for replica in replicas))

    async def pick(
        self, *, context: CallContext, key: str = "", checkpoint: str = "", avoid: Collection[Replica] = ()
    ) -> Replica:
        """The replica for a call, after waiting for one where none serves.

        Args:
            context: bounds the wait.
            key: what the replica shall have cached (a mesh's hash): calls of one key go to one replica.
            checkpoint: which must be live there, as far as that is known.
            avoid: replicas that have failed this call; taken only when there is no other.

        Raises:
            StageUnavailable: none serves.
            DeadlineExceededError, CancelledError: as the context says.
        """
        give_up = time.monotonic() + self._config.wait_seconds
        while True:
            context.check()
            replica = self.choose(key=key, checkpoint=checkpoint, avoid=avoid)
            if replica is not None:
                return replica
            changed = self._changed
            left = give_up - time.monotonic()
            if (remaining := context.remaining()) is not None:
                left = min(left, remaining)
            if left <= 0:
                context.check()
                raise StageUnavailable(
                    f"no replica of {self.name} serves", metadata={"stage": self.name}, retry_after=1.0
                )
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                continue

    def choose(
        self, *, key: str = "", checkpoint: str = "", avoid: Collection[Replica] = (), only_others: bool = False
    ) -> Replica | None:
        """The replica for a call now; None when none serves (or, with `only_others`, none but those in `avoid`)."""
        serving = [replica for replica in self._replicas.values() if replica.serving]
        others = [replica for replica in serving if replica not in avoid] if avoid else serving
        fit = fresh = others if others or only_others else serving
        if checkpoint:
            holding = [replica for replica in fresh if replica.checkpoints is None or checkpoint in replica.checkpoints]
            fit = holding or fresh
        rested = [replica for replica in fit if not replica.ejected] or fit
        if not rested:
            return None
        if key:
            return _bounded(rendezvous_order(key, rested))
        return min(random.sample(rested, min(2, len(rested))), key=lambda replica: replica.outstanding)

    def succeeded(self, replica: Replica) -> None:
        """Note a call that was answered."""
        replica.failures = 0
        if not replica.ejected:
            replica.ejections = max(0, replica.ejections - 1)

    def failed(self, replica: Replica) -> None:
        """Note a call that failed by the replica's fault."""
        replica.failures += 1
        if replica.failures < self._config.ejection_failures or replica.ejected:
            return
        ejected = sum(other.ejected for other in self._replicas.values())
        if 2 * (ejected + 1) > len(self._replicas):
            return
        replica.failures = 0
        replica.ejections += 1
        seconds = self._config.ejection_seconds * min(replica.ejections, _MAX_EJECTION_FACTOR)
        replica.ejected_until = time.monotonic() + seconds
        _log.warning("%s replica %s is ejected for %.0f s", self.name, replica.address, seconds)

    def _replica_changed(self, replica: Replica) -> None:
        _log.info("%s replica %s %s", self.name, replica.address, "serves" if replica.serving else "does not serve")
        if any(other.serving for other in self._replicas.values()):
            for frozen in (other for other in self._replicas.values() if other.frozen):
                frozen.give_up_calls()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._config.resolve_seconds)
            await self._refresh()

    async def _refresh(self) -> None:
        found = await self._discovery.addresses()
        for address in found - self._replicas.keys():
            self._replicas[address] = Replica(
                address.target,
                self._connect(address),
                service=self._service,
                probe_seconds=self._config.probe_seconds,
                changed=self._replica_changed,
            )
        for address in self._replicas.keys() - found:
            self._spawn(self._replicas.pop(address).close())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def rendezvous_order(key: str, replicas: Collection[Replica]) -> list[Replica]:
    """Replicas by their claim on a key: a replica that comes or goes moves only the keys it claims first."""

    def claim(replica: Replica) -> bytes:
        return hashlib.blake2b(f"{key}|{replica.address}".encode(), digest_size=8).digest()

    return sorted(replicas, key=claim, reverse=True)


def _bounded(ordered: list[Replica]) -> Replica:
    """The first replica that is not far busier than the mean: one popular mesh must not drown one replica."""
    mean = (sum(replica.outstanding for replica in ordered) + 1) / len(ordered)
    limit = max(_LOAD_FLOOR, _LOAD_FACTOR * mean)
    return next((replica for replica in ordered if replica.outstanding < limit), ordered[0])
