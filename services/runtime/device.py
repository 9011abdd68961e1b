"""One thread per device; batchers and one-off work take turns on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from interactvlm.stages import CallContext

__all__ = ["DeviceWorker"]

T = TypeVar("T")


class DeviceWorker:
    """One thread that runs one device's work, a piece at a time."""

    def __init__(self, name: str = "cpu") -> None:
        raise NotImplementedError

    async def run(self, work: Callable[[], T], context: CallContext | None = None) -> T:
        """Run one piece of work (loading, warm-up) on the device's thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Let the running piece end and stop the thread."""
        raise NotImplementedError
