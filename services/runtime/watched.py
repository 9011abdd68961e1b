"""Files that may be replaced while the process runs: certificates, tokens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["WatchedFiles"]


class WatchedFiles:
    """Tells when any of some files was replaced, looking at most once a period (a handshake or call asks each time).

    Kubernetes swaps a symbolic link when it updates a secret: size, time and inode of what the path leads to decide.

    Args:
        paths: the files; empty names are left out.
        period: seconds between two looks.
        clock: monotonic seconds.
    """

    def __init__(
        self, paths: Sequence[str], *, period: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._paths = [Path(path) for path in paths if path]
        self._period = period
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = clock()
        self._signature = self._look()

    def changed(self) -> bool:
        """Whether a file differs from the last time this said so (or from the beginning)."""
        with self._lock:
            now = self._clock()
            if now - self._looked < self._period:
                return False
            self._looked = now
            signature = self._look()
            if signature == self._signature:
                return False
            self._signature = signature
            return True

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        found: list[tuple[int, int, int] | None] = []
        for path in self._paths:
            try:
                status = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)
