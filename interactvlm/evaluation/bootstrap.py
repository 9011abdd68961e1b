"""Confidence intervals by resampling photos: rows of one photo stay together, two methods are resampled alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "SEED", "bootstrap_interval"]

RESAMPLES = 2000
SEED = 20250
_LEVEL = 0.95
_CHUNK = 128


def bootstrap_interval(
    values: NDArray[np.float64], photos: Sequence[Hashable], *, minus: NDArray[np.float64] | None = None
) -> tuple[float, float] | None:
    """95 % interval of a mean over rows, or of the difference of two means over the same rows (paired).

    Args:
        values: [R].
        photos: photo of each row; photos are what is resampled.
        minus: [R], the other method's values on the same rows.

    Returns:
        (lower, upper), None with fewer than two photos.
    """
    index = {photo: number for number, photo in enumerate(dict.fromkeys(photos))}
    if len(index) < 2:
        return None
    of_row = np.array([index[photo] for photo in photos])
    difference = values if minus is None else values - minus
    sums = np.bincount(of_row, weights=difference, minlength=len(index))
    sizes = np.bincount(of_row, minlength=len(index)).astype(np.float64)
    generator = np.random.default_rng(SEED)
    shares = np.full(len(index), 1 / len(index))
    means = []
    for start in range(0, RESAMPLES, _CHUNK):
        drawn = generator.multinomial(len(index), shares, size=min(_CHUNK, RESAMPLES - start))
        means.append((drawn @ sums) / (drawn @ sizes))
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)
