"""Which photo comes when: sampling of several sources by ratio, as a pure function of the draw's number.

Nothing is remembered between draws, so a run that stopped anywhere goes on with exactly the draws that were due.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError

__all__ = ["Mixture", "seeded"]


def seeded(*parts: object) -> random.Random:
    """A generator that depends on all of `parts` and on nothing else."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 - no secret


class Mixture:
    """Draws (source, index) by ratio; within a source every photo comes once before any comes again.

    Args:
        sizes: photos of each source.
        ratios: share of each source, whole numbers.
        seed: of the order.

    Raises:
        InputError: a source is empty.
    """

    def __init__(self, sizes: Sequence[int], ratios: Sequence[int], *, seed: int) -> None:
        for index, size in enumerate(sizes):
            if size < 1:
                raise InputError(f"data[{index}]", "holds no photos")
        self._sizes = tuple(sizes)
        self._ratios = tuple(ratios)
        self._seed = seed
        self._order = lru_cache(maxsize=2 * len(sizes))(self._shuffled)

    def draw(self, number: int) -> tuple[int, int]:
        """(source, index within it) of draw `number`, 0, 1, 2 ..."""
        cycle, place = divmod(number, sum(self._ratios))
        layout = [source for source, ratio in enumerate(self._ratios) for _ in range(ratio)]
        seeded(self._seed, "cycle", cycle).shuffle(layout)
        source = layout[place]
        drawn = cycle * self._ratios[source] + layout[:place].count(source)
        epoch, index = divmod(drawn, self._sizes[source])
        return source, int(self._order(source, epoch)[index])

    def _shuffled(self, source: int, epoch: int) -> NDArray[np.int64]:
        digest = hashlib.sha256(f"{self._seed}|order|{source}|{epoch}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(self._sizes[source])
