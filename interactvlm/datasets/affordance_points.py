"""An object's points with their affordance heat: the text files of PIAD and 3DIR.

A row is `x y z p1 ... p17`, in PIAD with two words before it (a hash and the object's name).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactvlm.datasets.paths import read_text
from interactvlm.errors import InputError
from interactvlm.geometry.mesh import PointCloud

__all__ = ["AffordancePoints", "read_affordance_points"]

MAX_POINTS = 100_000
"""PIAD and 3DIR have 2,048."""


class AffordancePoints:
    """Points, and the heat of each affordance.

    Attributes:
        cloud: the points.
        heat: float32 [N, A] in [0, 1], a column an affordance.
        affordances: the columns' words.
    """

    def __init__(self, cloud: PointCloud, heat: NDArray[np.float32], affordances: Sequence[str]) -> None:
        self.cloud = cloud
        self.heat = heat
        self.affordances = tuple(affordances)

    def values(self, affordance: str) -> NDArray[np.float32]:
        """Heat of one affordance, float32 [N]; zero everywhere where the object does not have it."""
        return np.ascontiguousarray(self.heat[:, self.affordances.index(affordance)])


def read_affordance_points(path: Path, affordances: Sequence[str], *, leading_words: int) -> AffordancePoints:
    """Read one file.

    Args:
        path: the text file.
        affordances: the words of the columns behind x y z, in their order.
        leading_words: columns before x (2 in PIAD, 0 in 3DIR).

    Raises:
        InputError: the file is missing or no such table, or heat lies outside [0, 1].
        MeshError: a coordinate is not finite, or the points coincide.
    """
    text = read_text(path)
    first, _, _ = text.lstrip().partition("\n")
    columns = leading_words + 3 + len(affordances)
    if len(first.split()) != columns:
        raise InputError(str(path), f"has {len(first.split())} columns in its first row, {columns} are needed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of empty input; the size is checked below
            table = np.loadtxt(
                io.StringIO(text),
                dtype=np.float32,
                usecols=range(leading_words, columns),
                ndmin=2,
                comments=None,
                max_rows=MAX_POINTS + 1,
            )
    except ValueError as error:
        raise InputError(str(path), f"is not a table of numbers ({error})") from None
    if not 1 <= len(table) <= MAX_POINTS:
        raise InputError(str(path), f"has {len(table)} rows, the limits are 1 and {MAX_POINTS}")
    heat = table[:, 3:]
    wrong = ~((heat >= 0) & (heat <= 1))  # NaN too
    if wrong.any():
        row, column = (int(i[0]) for i in np.nonzero(wrong))
        raise InputError(
            f"{path}: row {row + 1}", f"has {heat[row, column]:g} for {affordances[column]}; heat is from 0 to 1"
        )
    return AffordancePoints(PointCloud(table[:, :3]), heat, affordances)
