"""Items of concurrent calls run together: by cost, under the earliest deadline, with fitted latency.

What runs next is `batch_queue.py`'s decision; here are the futures, the device's thread and the faults. A batch that
fails is bisected until the items that fail alone are found: a poisonous photo costs its neighbours time, never their
answer. One caller's leaving never touches another's item.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from opentelemetry import trace

from interactvlm.errors import CancelledError, DeadlineExceededError, InputError
from services.runtime import metrics
from services.runtime.batch_queue import BatchLimits, BatchQueue, Entry, Selection
from services.runtime.calls import Call, Priority
from services.runtime.device import DeviceWorker, settle
from services.runtime.errors import DeadlineTooShort, Draining, QueueFull
from services.runtime.latency import LatencyModel
from services.runtime.status import reason_of

__all__ = ["BatchLimits", "Batcher", "DeviceWorker"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Ticket:
    """What answers an entry."""

    future: asyncio.Future[Any]
    gone: bool = False
    started: float = 0.0


class Batcher(Generic[Item, Result]):
    """Runs items of concurrent calls together on one device.

    Args:
        run: the engine: results in the order of the items; an exception in a result's place fails that item alone, an
            exception raised fails the batch, which is then bisected. Called on the worker's thread.
        cost: share of a batch an item takes, > 0, in the unit of `limits.max_cost` (tokens, views, questions).
        limits: bounds of batch and queue.
        worker: the device's thread; several batchers may share it, the earliest deadline goes first.
        name: label in metrics.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | BaseException]],
        *,
        cost: Callable[[Item], float],
        limits: BatchLimits,
        worker: DeviceWorker,
        name: str,
    ) -> None:
        self._run = run
        self._cost = cost
        self._worker = worker
        self._name = name
        self._latency = LatencyModel()
        self._queue = BatchQueue(limits, self._latency)
        self._inside = 0
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._pending_gauge = metrics.PENDING.labels(name)
        self._queue_seconds = [metrics.QUEUE_SECONDS.labels(name, priority.wire) for priority in Priority]
        self._compute_seconds = metrics.COMPUTE_SECONDS.labels(name)
        self._batch_items = metrics.BATCH_ITEMS.labels(name)
        self._batch_cost = metrics.BATCH_COST.labels(name)
        worker.attach(self)

    @property
    def pending(self) -> int:
        """Items that wait or run."""
        return self._inside

    async def submit(self, item: Item, call: Call) -> Result:
        """The item's result, computed together with whatever else waits.

        Raises:
            QueueFull: too much waits already; the error tells when to return.
            DeadlineTooShort: the work cannot end before the call's deadline, so it never began.
            DeadlineExceededError, CancelledError: the call ended first.
            Draining: the batcher takes nothing new.
        """
        call.context.check()
        cost = self._cost(item)
        if not (cost > 0 and math.isfinite(cost)):
            raise InputError("cost", f"is {cost}; it must be positive")
        self._loop = loop = asyncio.get_running_loop()
        ticket = _Ticket(loop.create_future())
        entry = Entry(
            item=item,
            cost=cost,
            deadline=math.inf if call.context.deadline is None else call.context.deadline,
            arrived=time.monotonic(),
            priority=call.priority,
            cancelled=lambda: ticket.gone or call.context.should_stop(),
            ticket=ticket,
        )
        self._admit(entry)
        try:
            async with asyncio.timeout(call.context.remaining()):
                result: Result = await ticket.future
        except (asyncio.CancelledError, TimeoutError) as error:
            if ticket.future.done() and not ticket.future.cancelled() and ticket.future.exception() is error:
                raise  # the engine's own
            self._withdraw(entry)
            call.context.cancel()
            if isinstance(error, TimeoutError):
                raise DeadlineExceededError("the deadline passed before the answer was ready") from None
            raise
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attribute(f"interactvlm.{self._name}.queue_seconds", ticket.started - entry.arrived)
            span.set_attribute(f"interactvlm.{self._name}.compute_seconds", time.monotonic() - ticket.started)
        return result

    async def drain(self) -> None:
        """Refuse new items and wait for those inside."""
        self._draining = True
        await self._empty.wait()
        self._worker.detach(self)

    def urgency(self) -> tuple[float, float] | None:
        """See `WorkSource`."""
        return self._queue.urgency()

    def next_work(self) -> Callable[[], None] | None:
        """See `WorkSource`."""
        selection = self._queue.take(time.monotonic())
        if selection.expired or selection.cancelled or selection.hopeless:
            self._post(lambda: self._drop(selection))
        return (lambda: self._compute(selection.batch, first=True)) if selection.batch else None

    # On the event loop.

    def _admit(self, entry: Entry) -> None:
        if self._draining:
            raise Draining("the server is shutting down and takes nothing new", retry_after=1.0)
        try:
            with self._worker.lock:
                self._queue.add(entry)
                self._worker.lock.notify()
        except (QueueFull, DeadlineTooShort) as error:
            metrics.DROPPED.labels(self._name, reason_of(error)).inc()
            raise
        self._inside += 1
        self._empty.clear()
        self._pending_gauge.set(self._inside)

    def _withdraw(self, entry: Entry) -> None:
        entry.ticket.gone = True
        with self._worker.lock:
            waited = self._queue.discard(entry)
        if waited:
            metrics.DROPPED.labels(self._name, "CANCELLED").inc()
            self._leave(1)

    def _leave(self, count: int) -> None:
        self._inside -= count
        self._pending_gauge.set(self._inside)
        if not self._inside:
            self._empty.set()

    def _drop(self, selection: Selection) -> None:
        self._refuse(selection.expired, lambda: DeadlineExceededError("the deadline passed while the call waited"))
        self._refuse(selection.cancelled, lambda: CancelledError("the call was cancelled while it waited"))
        self._refuse(
            selection.hopeless, lambda: DeadlineTooShort("deadline: the work cannot end in time any more; not begun")
        )

    def _refuse(self, entries: list[Entry], make: Callable[[], Exception]) -> None:
        for entry in entries:
            error = make()
            metrics.DROPPED.labels(self._name, reason_of(error)).inc()
            settle(entry.ticket.future, error)
        self._leave(len(entries))

    def _answer(self, entries: list[Entry], results: Sequence[Any], began: float, seconds: float) -> None:
        for entry, result in zip(entries, results, strict=True):
            self._queue_seconds[entry.priority].observe(began - entry.arrived)
            settle(entry.ticket.future, result)
        self._compute_seconds.observe(seconds)
        self._batch_items.observe(len(entries))
        self._batch_cost.observe(sum(entry.cost for entry in entries))
        self._leave(len(entries))

    # On the device's thread.

    def _compute(self, entries: list[Entry], *, first: bool) -> None:
        began = time.monotonic()
        if not first:
            entries = self._still_wanted(entries, began)
            if not entries:
                return
        for entry in entries:
            entry.ticket.started = began
        try:
            results = self._run([entry.item for entry in entries])
            if len(results) != len(entries):
                raise RuntimeError(f"the engine of {self._name} gave {len(results)} results for {len(entries)} items")
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to one of the items
            if len(entries) > 1:
                half = len(entries) // 2
                self._compute(entries[:half], first=False)
                self._compute(entries[half:], first=False)
                return
            results = [error]
        ended = time.monotonic()
        self._post(lambda: self._answer(entries, results, began, ended - began))
        if first:
            with self._worker.lock:
                self._latency.observe(sum(entry.cost for entry in entries), ended - began, ended)

    def _still_wanted(self, entries: list[Entry], now: float) -> list[Entry]:
        """The entries of a failed batch that may start again."""
        expired = [entry for entry in entries if entry.deadline <= now]
        cancelled = [entry for entry in entries if entry.deadline > now and entry.cancelled()]
        if expired or cancelled:
            self._post(lambda: self._drop(Selection(expired=expired, cancelled=cancelled)))
        return [entry for entry in entries if entry not in expired and entry not in cancelled]

    def _post(self, callback: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)
