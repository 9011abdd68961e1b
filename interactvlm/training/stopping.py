"""Ending a run in order: when its time is over, or when the process is asked to."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

__all__ = ["Stop", "stopped_by_signals"]


@dataclass(frozen=True, slots=True)
class Stop:
    """When to end before the last step.

    Attributes:
        at: time (of the monotonic clock) after which to end.
        signalled: signals that have asked for it.
    """

    at: float
    signalled: list[int]

    def due(self) -> bool:
        """Whether to end now."""
        return bool(self.signalled) or time.monotonic() >= self.at


@contextmanager
def stopped_by_signals(at: float) -> Iterator[Stop]:
    """SIGTERM and SIGINT ask the loop to end after its step; a second one ends the process as ever."""
    stop = Stop(at, [])

    def note(number: int, _: FrameType | None) -> None:
        stop.signalled.append(number)
        signal.signal(number, previous[number])

    previous: dict[int, Any] = {}
    try:
        for number in (int(signal.SIGTERM), int(signal.SIGINT)):
            previous[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: whoever owns the process decides
        previous.clear()
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
