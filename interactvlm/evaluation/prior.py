"""The category prior: what one can say about contact without looking at the photo.

For the body it is the mean contact of every object name over the training split, cut at the threshold that is best
there; for objects the mean heat at every place of the object's bounding box. A model whose pictures matter must beat
it (docs/evaluation.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.evaluation.metrics import CONTACT_THRESHOLD
from interactvlm.evaluation.predictions import Answer
from interactvlm.evaluation.truth import HumanTruth, ObjectTruth, TruthSet
from interactvlm.types import Task

if TYPE_CHECKING:
    from interactvlm.datasets.sample import ContactSample
    from interactvlm.geometry.mesh import Mesh, PointCloud

__all__ = ["CategoryPrior", "Surfaces", "best_threshold", "fit_prior", "moved_to_half", "surfaces_of"]

_GRID = 12
"""Cells a side of the bounding box in which object heat is averaged."""
_THRESHOLDS = np.linspace(0.02, 0.98, 49)
_ENOUGH = 20
"""Rows from which on a name has a threshold of its own."""

Surfaces = dict[str, "Mesh | PointCloud"]


@dataclass(frozen=True, slots=True, eq=False)
class CategoryPrior:
    """Mean contact by category.

    Attributes:
        body: float32 [V] by (task, category); category "" is the mean over all names.
        heat: float32 [12, 12, 12] by category, "" over all; place in the object's bounding box.
        templates: how many interactions the training split has for each category.
    """

    body: dict[tuple[str, str], NDArray[np.float32]]
    heat: dict[str, NDArray[np.float32]]
    templates: dict[str, int]

    def varies(self, row: HumanTruth) -> bool:
        """Whether the interaction must be read from the picture: training knows several with this category."""
        return row.task is Task.SEMANTIC and self.templates.get(row.category, 0) > 1

    def answers(self, truths: TruthSet, surfaces: Surfaces) -> Iterator[Answer]:
        """What the prior says to every question of a data set; of the truth, only names are read.

        Args:
            truths: whose questions are answered.
            surfaces: objects' surfaces by content hash.
        """
        for human in truths.human:
            values = self.body.get((human.key[0], human.category), self.body.get((human.key[0], "")))
            if values is None:
                values = np.zeros(truths.body.vertex_count, np.float32)
            yield Answer(human.sample_id, human.key, values)
        for item in truths.objects:
            grid = self.heat.get(item.category, self.heat.get("", np.zeros((_GRID,) * 3, np.float32)))
            yield Answer(item.sample_id, item.key, grid[_cells(surfaces[item.key[2]])])


def fit_prior(training: TruthSet, surfaces: Surfaces) -> CategoryPrior:
    """Average the training split.

    Args:
        training: its annotations (distances are not needed).
        surfaces: its objects' surfaces by content hash.

    Raises:
        InputError: the split is empty.
    """
    if not training.human and not training.objects:
        raise InputError("training split", "holds no annotation to fit the category prior to")
    groups: dict[tuple[str, str], list[HumanTruth]] = defaultdict(list)
    templates: dict[str, set[str]] = defaultdict(set)
    for row in training.human:
        groups[row.key[0], ""].append(row)
        if row.category:
            groups[row.key[0], row.category].append(row)
            if row.touched and row.template:
                templates[row.category].add(row.template)
    count = training.body.vertex_count
    body: dict[tuple[str, str], NDArray[np.float32]] = {}
    overall: dict[str, float] = {}
    for (task, category), rows in sorted(groups.items()):  # "" sorts first: the fallback of small groups
        mean = _mean(rows, count)
        if not category or len(rows) >= _ENOUGH or task not in overall:
            cut = best_threshold(mean, [row.vertices for row in rows if row.touched])
            overall.setdefault(task, cut)
        else:
            cut = overall[task]
        body[task, category] = moved_to_half(mean, cut)
    return CategoryPrior(body, _heat(training.objects, surfaces), {name: len(t) for name, t in templates.items()})


def best_threshold(probabilities: NDArray[np.float32], rows: Sequence[NDArray[np.int32]]) -> float:
    """The threshold with the best mean F1 of one prediction against many truths.

    Args:
        probabilities: [V], the same for every row.
        rows: true vertices of each row.

    Returns:
        One of 49 values in (0, 1); 0.5 without rows.
    """
    if not rows:
        return CONTACT_THRESHOLD
    ordered = np.sort(probabilities)
    predicted = len(ordered) - np.searchsorted(ordered, _THRESHOLDS)
    f1 = np.zeros(len(_THRESHOLDS))
    for vertices in rows:
        hit = np.sort(probabilities[vertices])
        hits = len(hit) - np.searchsorted(hit, _THRESHOLDS)
        f1 += 2 * hits / (predicted + len(vertices))
    return float(_THRESHOLDS[int(f1.argmax())])


def moved_to_half(probabilities: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Probabilities bent by two straight lines so that `threshold` comes to lie at 0.5; order is kept.

    Args:
        probabilities: any shape, in [0, 1].
        threshold: in (0, 1).
    """
    values = probabilities.astype(np.float64)
    below = values * (CONTACT_THRESHOLD / threshold)
    above = 1 - (1 - values) * (CONTACT_THRESHOLD / (1 - threshold))
    bent = np.where(values >= threshold, np.maximum(above, CONTACT_THRESHOLD), np.minimum(below, 0.4999999))
    return np.asarray(bent, dtype=np.float32)


def surfaces_of(samples: Iterable[ContactSample]) -> Surfaces:
    """Every object's surface by content hash."""
    return {item.surface.content_hash: item.surface for sample in samples for item in sample.objects}


def _mean(rows: Sequence[HumanTruth], count: int) -> NDArray[np.float32]:
    total = np.zeros(count)
    for row in rows:
        total[row.vertices] += 1
    return (total / len(rows)).astype(np.float32)


def _heat(rows: Sequence[ObjectTruth], surfaces: Surfaces) -> dict[str, NDArray[np.float32]]:
    """Mean heat by cell of the bounding box; a cell that no training surface fills takes its nearest neighbour's."""
    from scipy.ndimage import distance_transform_edt

    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros((2, _GRID, _GRID, _GRID)))
    for row in rows:
        cells = _cells(surfaces[row.key[2]])
        for name in {"", row.category}:
            np.add.at(sums[name][0], cells, row.values)
            np.add.at(sums[name][1], cells, 1.0)
    grids: dict[str, NDArray[np.float32]] = {}
    for name, (heat, seen) in sums.items():
        mean = heat / np.maximum(seen, 1)
        nearest = distance_transform_edt(seen == 0, return_distances=False, return_indices=True)
        grids[name] = mean[tuple(nearest)].astype(np.float32)
    return grids


def _cells(surface: Mesh | PointCloud) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    from interactvlm.geometry.mesh import Mesh

    points = (surface.vertices if isinstance(surface, Mesh) else surface.xyz).astype(np.float64)
    low, extent = points.min(0), np.maximum(np.ptp(points, axis=0), 1e-9)
    x, y, z = np.minimum((points - low) / extent * _GRID, _GRID - 1).astype(np.int64).T
    return x, y, z
