"""Do probabilities mean what they say? Reliability bins and expected calibration error over vertices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Reliability"]

BINS = 15
"""Equal bins of [0, 1]."""


class Reliability:
    """Counts vertices by predicted probability; all in constant memory."""

    def __init__(self) -> None:
        self.count: NDArray[np.float64] = np.zeros(BINS)
        self.confidence: NDArray[np.float64] = np.zeros(BINS)
        self.true: NDArray[np.float64] = np.zeros(BINS)

    def add(self, probabilities: NDArray[np.float32], truth: NDArray[np.bool_]) -> None:
        """Count one answer's vertices [V]."""
        values = probabilities.astype(np.float64)
        bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
        self.count += np.bincount(bins, minlength=BINS)
        self.confidence += np.bincount(bins, weights=values, minlength=BINS)
        self.true += np.bincount(bins, weights=truth, minlength=BINS)

    @property
    def expected_error(self) -> float:
        """ECE: |mean probability - share in contact|, averaged over vertices; 0 without any."""
        total = self.count.sum()
        return float(np.abs(self.confidence - self.true).sum() / total) if total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """ECE and, for each bin that is not empty, its bounds, vertices, mean probability and share in contact."""
        bins = [
            {
                "from": index / BINS,
                "to": (index + 1) / BINS,
                "vertices": int(self.count[index]),
                "probability": float(self.confidence[index] / self.count[index]),
                "in_contact": float(self.true[index] / self.count[index]),
            }
            for index in range(BINS)
            if self.count[index]
        ]
        return {"ece": self.expected_error, "bins": bins}
