"""Which items run next: the batcher's decisions, without threads, futures or a clock of its own.

`BatchQueue` holds what waits, ordered by priority and deadline, and forms the next batch. It guarantees, and the
property tests hold it to this:

- an item whose deadline passed, whose caller left, or that cannot end in time any more, never starts;
- an idle device with startable items gets a batch at once (no waiting for company);
- a batch stays within its cost and count (one dearer item may run alone) and within its earliest deadline;
- every item leaves exactly once: in a batch, or dropped with a reason;
- BATCH items run in what INTERACTIVE ones leave free, yet none waits for ever.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from services.runtime.calls import Priority
from services.runtime.errors import DeadlineTooShort, QueueFull
from services.runtime.latency import LatencyModel

__all__ = ["BatchLimits", "BatchQueue", "Entry", "Selection"]

_NEVER = float("inf")
#: A batch without the most urgent items must be this much more productive before they are left behind.
_WORTH_LEAVING = 1.25


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one batcher.

    Attributes:
        max_items: items in one batch.
        max_cost: summed cost of one batch (a single dearer item runs alone).
        max_pending_items: items that wait; more are refused with QUEUE_FULL.
        max_pending_seconds: predicted work that waits; more is refused with QUEUE_FULL.
        starvation_seconds: a BATCH item that has waited this long goes as if INTERACTIVE.
    """

    max_items: int = 32
    max_cost: float = 32.0
    max_pending_items: int = 256
    max_pending_seconds: float = 30.0
    starvation_seconds: float = 10.0


@dataclass(slots=True, eq=False)
class Entry:
    """One waiting item.

    Attributes:
        item: what the engine gets.
        cost: its share of a batch, in the unit of `BatchLimits.max_cost`.
        deadline: moment after which its result is worthless; infinite for none.
        arrived: when it came.
        priority: which queue it waits in.
        cancelled: whether its caller left.
        ticket: whatever the owner needs to answer it.
    """

    item: Any
    cost: float
    deadline: float = _NEVER
    arrived: float = 0.0
    priority: Priority = Priority.INTERACTIVE
    cancelled: Callable[[], bool] = lambda: False
    ticket: Any = None
    number: int = 0

    def __lt__(self, other: Entry) -> bool:
        return (self.deadline, self.number) < (other.deadline, other.number)


@dataclass(slots=True)
class Selection:
    """What to do now.

    Attributes:
        batch: to run; empty when nothing can.
        expired: deadlines passed while waiting.
        cancelled: callers left.
        hopeless: would end after their deadline.
    """

    batch: list[Entry] = field(default_factory=list)
    expired: list[Entry] = field(default_factory=list)
    cancelled: list[Entry] = field(default_factory=list)
    hopeless: list[Entry] = field(default_factory=list)


class BatchQueue:
    """The waiting items of one batcher. Not thread-safe: the batcher holds a lock around it."""

    def __init__(self, limits: BatchLimits, latency: LatencyModel) -> None:
        self._limits = limits
        self._latency = latency
        self._waiting: dict[Priority, list[Entry]] = {priority: [] for priority in Priority}
        self._cost = 0.0
        self._numbers = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def cost(self) -> float:
        """Summed cost of what waits."""
        return self._cost

    def backlog_seconds(self) -> float:
        """Predicted time to work off what waits, in full batches."""
        batches = max(self._cost / self._limits.max_cost, len(self) / self._limits.max_items)
        return self._latency.predict(min(self._cost, self._limits.max_cost)) * max(batches, float(batches > 0))

    def add(self, entry: Entry) -> None:
        """Let an item wait.

        Raises:
            QueueFull: a bound is reached, or what is due before it fills its time; `retry_after` tells when to return.
            DeadlineTooShort: it could not end in time even alone.
        """
        backlog = self.backlog_seconds()
        if len(self) >= self._limits.max_pending_items or backlog >= self._limits.max_pending_seconds:
            raise QueueFull(
                f"queue: {len(self)} requests wait (limit {self._limits.max_pending_items}), "
                f"about {backlog:.1f} s of work (limit {self._limits.max_pending_seconds:g} s)",
                retry_after=max(0.05, backlog / 2),
            )
        needed = self._latency.bound(entry.cost, entry.arrived)
        left = entry.deadline - entry.arrived
        if needed > left:
            raise DeadlineTooShort(f"deadline: {left:.3f} s are left, the work alone takes about {needed:.3f} s")
        wait = backlog * self._share_ahead(entry) if needed else 0.0
        if wait + needed > left:
            raise QueueFull(
                f"queue: about {wait:.2f} s of work are due first, {left:.3f} s are left",
                retry_after=max(0.05, wait + needed - left),
            )
        self._numbers += 1
        entry.number = self._numbers
        insort(self._waiting[entry.priority], entry)
        self._cost += entry.cost

    def discard(self, entry: Entry) -> bool:
        """Forget an item; whether it was still waiting."""
        try:
            self._waiting[entry.priority].remove(entry)
        except ValueError:
            return False
        self._cost -= entry.cost
        return True

    def urgency(self) -> tuple[float, float] | None:
        """What the device compares queues by (earliest deadline, arrival); None when nothing waits."""
        heads = [waiting[0] for waiting in self._waiting.values() if waiting]
        return min(((head.deadline, head.arrived) for head in heads), default=None)

    def take(self, now: float) -> Selection:
        """Drop what cannot run any more and form the next batch; everything returned has left the queue."""
        found = Selection()
        self._sweep(found, now)
        ordered = list(self._in_order(now))
        batch = self._greedy(ordered, 0, now)
        start = self._first_roomy(ordered, now)
        if start and self._saturated():
            # The most urgent items would force a small batch on a full house: leaving them finishes more in time.
            other = self._greedy(ordered, start, now)
            if self._productivity(other) > _WORTH_LEAVING * self._productivity(batch):
                batch = other
        for entry in batch:
            self.discard(entry)
        found.batch = batch
        return found

    def _share_ahead(self, entry: Entry) -> float:
        ahead = bisect(self._waiting[entry.priority], entry)
        if entry.priority is Priority.BATCH:
            ahead += len(self._waiting[Priority.INTERACTIVE])
        return ahead / max(1, len(self))

    def _sweep(self, found: Selection, now: float) -> None:
        for priority, waiting in self._waiting.items():
            kept: list[Entry] = []
            for entry in waiting:
                if entry.deadline <= now:
                    found.expired.append(entry)
                elif entry.cancelled():
                    found.cancelled.append(entry)
                elif entry.deadline != _NEVER and now + self._latency.bound(entry.cost, now) > entry.deadline:
                    found.hopeless.append(entry)
                else:
                    kept.append(entry)
                    continue
                self._cost -= entry.cost
            self._waiting[priority] = kept
        if not len(self):
            self._cost = 0.0  # no rounding error outlives an empty queue

    def _in_order(self, now: float) -> Iterator[Entry]:
        starved_before = now - self._limits.starvation_seconds
        patient: list[Entry] = []
        starved: list[Entry] = []
        for entry in self._waiting[Priority.BATCH]:
            (starved if entry.arrived <= starved_before else patient).append(entry)
        yield from sorted(starved, key=lambda entry: entry.number)
        yield from self._waiting[Priority.INTERACTIVE]
        yield from patient

    def _greedy(self, ordered: list[Entry], start: int, now: float) -> list[Entry]:
        """The longest batch from `start` on that keeps to all bounds; dearer items are passed over for cheaper ones."""
        batch: list[Entry] = []
        cost, deadline = 0.0, _NEVER
        for entry in ordered[start:]:
            if len(batch) >= self._limits.max_items or (batch and cost >= self._limits.max_cost):
                break
            total, earliest = cost + entry.cost, min(deadline, entry.deadline)
            if batch and total > self._limits.max_cost:
                continue
            if batch and earliest != _NEVER and now + self._latency.bound(total, now) > earliest:
                continue
            batch.append(entry)
            cost, deadline = total, earliest
        return batch

    def _first_roomy(self, ordered: list[Entry], now: float) -> int:
        """Index of the first item whose deadline leaves time for a full batch (0 when the very first does)."""
        enough = now + self._latency.bound(self._limits.max_cost, now)
        return next((index for index, entry in enumerate(ordered) if entry.deadline >= enough), 0)

    def _saturated(self) -> bool:
        return self._cost > self._limits.max_cost or len(self) > self._limits.max_items

    def _productivity(self, batch: list[Entry]) -> float:
        """Cost finished per second."""
        cost = sum(entry.cost for entry in batch)
        return cost / max(self._latency.predict(cost), 1e-9)
