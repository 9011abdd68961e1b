"""One thread per device; batchers and one-off work take turns on it.

The thread itself asks for the next batch the moment the last one ended: the device never waits for the event loop to
notice.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from interactvlm.stages import CallContext

__all__ = ["DeviceWorker", "WorkSource", "settle"]

T = TypeVar("T")
_CLOSE_SECONDS = 10.0
_log = logging.getLogger(__name__)


class WorkSource(Protocol):
    """Something with work for a device; both methods are called under the worker's lock."""

    def urgency(self) -> tuple[float, float] | None:
        """What sources are compared by, the lowest first; None without work."""
        ...

    def next_work(self) -> Callable[[], None] | None:
        """The next piece, already taken from the source; None when nothing was left to do."""
        ...


class DeviceWorker:
    """One thread that runs one device's work, a piece at a time.

    Args:
        name: the device, for thread names and logs.
    """

    def __init__(self, name: str = "cpu") -> None:
        #: Guards this worker's sources and jobs; held for microseconds only.
        self.lock = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._sources: list[WorkSource] = []
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name=f"device-{name}", daemon=True)
        self._thread.start()

    def attach(self, source: WorkSource) -> None:
        """Let `source` take turns; it calls `lock.notify()` when work arrives."""
        with self.lock:
            self._sources.append(source)

    def detach(self, source: WorkSource) -> None:
        """Forget a source."""
        with self.lock:
            if source in self._sources:
                self._sources.remove(source)

    async def run(self, work: Callable[[], T], context: CallContext | None = None) -> T:
        """Run one piece of work (loading, warm-up) on the device's thread, before waiting batches.

        Work whose caller is gone when its turn comes never starts.

        Raises:
            CancelledError, DeadlineExceededError: `context` ended first.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                if future.cancelled():
                    return
                if context is not None:
                    context.check()
                result = work()
            except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits
                _call_soon(loop, partial(settle, future, error))
            else:
                _call_soon(loop, partial(settle, future, result))

        with self.lock:
            if self._closed:
                raise RuntimeError("this device's worker is closed")
            self._jobs.append(job)
            self.lock.notify()
        try:
            return await future
        except asyncio.CancelledError:
            if context is not None:
                context.cancel()
            raise

    def close(self) -> None:
        """Let the running piece end (a hung one is left behind) and stop the thread; what waits is dropped."""
        with self.lock:
            self._closed = True
            self._jobs.clear()
            self.lock.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_SECONDS)

    def _loop(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001 - the device goes on with the next piece
                _log.exception("work on a device failed outside of any call")

    def _next(self) -> Callable[[], None] | None:
        with self.lock:
            while not self._closed:
                if self._jobs:
                    return self._jobs.popleft()
                waiting = [(urgency, index) for index, one in enumerate(self._sources) if (urgency := one.urgency())]
                if not waiting:
                    self.lock.wait()
                    continue
                work = self._sources[min(waiting)[1]].next_work()
                if work is not None:
                    return work
        return None


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        _log.debug("the event loop closed before a result arrived")


def settle(future: asyncio.Future[Any], result: Any) -> None:
    """Answer a future with a value or, given one, an exception; one that was answered or cancelled stays as it is."""
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
