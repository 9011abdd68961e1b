"""Batches by cost under the earliest deadline; see `Batcher`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.runtime.calls import Call
from services.runtime.device import DeviceWorker

__all__ = ["BatchLimits", "Batcher", "DeviceWorker"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one batcher.

    Attributes:
        max_items: items in one batch.
        max_cost: summed cost of one batch (a single dearer item runs alone).
        max_pending_items: items that wait; more are refused with QUEUE_FULL.
        max_pending_seconds: estimated work that waits; more is refused with QUEUE_FULL.
        starvation_seconds: a BATCH item that has waited this long goes as if INTERACTIVE.
    """

    max_items: int = 32
    max_cost: float = 32.0
    max_pending_items: int = 256
    max_pending_seconds: float = 30.0
    starvation_seconds: float = 10.0


class Batcher(Generic[Item, Result]):
    """Runs items of concurrent calls together on one device."""

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | BaseException]],
        *,
        cost: Callable[[Item], float],
        limits: BatchLimits,
        worker: DeviceWorker,
        name: str,
    ) -> None:
        raise NotImplementedError

    async def submit(self, item: Item, call: Call) -> Result:
        """The item's result, computed together with whatever else waits."""
        raise NotImplementedError

    async def drain(self) -> None:
        """Refuse new items and wait for those inside."""
        raise NotImplementedError

    @property
    def pending(self) -> int:
        """Items that wait or run."""
        raise NotImplementedError
