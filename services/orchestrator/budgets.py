"""How much extra load calls may cause, and how long calls take."""

from __future__ import annotations

from collections import deque

__all__ = ["Budget", "LatencyWindow"]

_ENOUGH = 32
_WINDOW = 512
_REFRESH = 16


class Budget:
    """Extra requests as a share of the ordinary ones, so that trouble is never multiplied.

    Args:
        ratio: tokens that each call brings.
        burst: most tokens held; there at the start.
    """

    def __init__(self, *, ratio: float, burst: float) -> None:
        self._ratio = ratio
        self._burst = burst
        self._tokens = burst

    def earn(self) -> None:
        """Note an ordinary call."""
        self._tokens = min(self._burst, self._tokens + self._ratio)

    def spend(self) -> bool:
        """Take a token for an extra request; False when there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class LatencyWindow:
    """The 95th percentile over the last calls."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._since_sorted = 0
        self._p95: float | None = None

    def add(self, seconds: float) -> None:
        """Note how long a call took."""
        self._seconds.append(seconds)
        self._since_sorted += 1
        if len(self._seconds) >= _ENOUGH and (self._p95 is None or self._since_sorted >= _REFRESH):
            self._p95 = sorted(self._seconds)[int(0.95 * (len(self._seconds) - 1))]
            self._since_sorted = 0

    @property
    def p95(self) -> float | None:
        """Seconds; None while too few calls are known."""
        return self._p95
