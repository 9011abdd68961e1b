"""How long a batch will take: latency = a * cost + b, fitted on the last batches."""

from __future__ import annotations

import statistics
from collections import deque

__all__ = ["LatencyModel"]

#: A fit takes a tenth of a millisecond: not after every batch of a fast device.
_REFIT_EVERY = 8


class LatencyModel:
    """A line through the last batches' (cost, seconds), robust against single hiccups.

    Deadlines are compared with `bound`, the line plus its usual excess. A prediction is only trusted while batches keep
    confirming it: after `trust_seconds` without one, everything is worth a try again. Without that, a device that was
    slow once would refuse all work for ever and never learn that it is fast.

    Args:
        memory: batches remembered.
        least: batches needed before predictions count.
        trust_seconds: how long the last batch vouches for the line.
    """

    def __init__(self, *, memory: int = 50, least: int = 3, trust_seconds: float = 2.0) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=memory)
        self._least = least
        self._trust = trust_seconds
        self._last = float("-inf")
        self._unseen = 0
        self._slope = 0.0
        self._offset = 0.0
        self._excess = 0.0

    def observe(self, cost: float, seconds: float, now: float) -> None:
        """A batch of `cost` took `seconds` and ended at `now`."""
        self._samples.append((cost, seconds))
        self._last = now
        self._unseen += 1
        if len(self._samples) >= self._least and (self._unseen >= _REFIT_EVERY or len(self._samples) < _REFIT_EVERY):
            self._unseen = 0
            self._fit()

    def predict(self, cost: float) -> float:
        """Expected seconds of a batch of `cost`; 0 while too little is known."""
        return max(0.0, self._slope * cost + self._offset)

    def bound(self, cost: float, now: float) -> float:
        """Seconds within which a batch of `cost` almost surely ends; 0 while predictions are not trusted."""
        if len(self._samples) < self._least or now - self._last > self._trust:
            return 0.0
        return self.predict(cost) + self._excess

    def _fit(self) -> None:
        kept = list(self._samples)
        self._line(kept)
        residuals = [seconds - self.predict(cost) for cost, seconds in kept]
        spread = statistics.median(abs(one) for one in residuals)
        if spread > 0:
            # A garbage collection or a stolen core is no property of the device: fit again without it.
            trimmed = [one for one, residual in zip(kept, residuals, strict=True) if residual <= 5 * spread]
            if self._least <= len(trimmed) < len(kept):
                kept = trimmed
                self._line(kept)
        excesses = sorted(max(0.0, seconds - self.predict(cost)) for cost, seconds in kept)
        self._excess = excesses[int(0.95 * (len(excesses) - 1))]

    def _line(self, samples: list[tuple[float, float]]) -> None:
        costs = [cost for cost, _ in samples]
        mean_cost = statistics.fmean(costs)
        mean_seconds = statistics.fmean(seconds for _, seconds in samples)
        variance = sum((cost - mean_cost) ** 2 for cost in costs)
        slope = 0.0
        if variance > 0:
            slope = sum((cost - mean_cost) * (seconds - mean_seconds) for cost, seconds in samples) / variance
        # Neither more work in less time nor negative fixed time exists: clip, keeping the line through the means.
        slope = max(0.0, slope)
        offset = mean_seconds - slope * mean_cost
        if offset < 0:
            slope, offset = (
                mean_seconds / mean_cost if mean_cost > 0 else 0.0,
                max(0.0, offset) if mean_cost > 0 else mean_seconds,
            )
        self._slope, self._offset = slope, offset
