"""The summary that is published for DAMON's test set: semantic contact, its categories, and binary contact.

Rows are (photo, object) pairs; several rows may share a photo. S rows, V vertices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.evaluation.metrics import CONTACT_THRESHOLD, FloatArray, contact_scores, geodesic_errors

__all__ = ["DAMON_CATEGORIES", "CategorySummary", "DamonSummary", "category_of", "summarize_damon"]

DAMON_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "accessory": ("backpack", "handbag", "hat", "eye_glasses", "shoe", "suitcase", "tie", "umbrella"),
    "everyday-objects": (
        *("book", "bottle", "cell_phone", "clock", "hair_drier", "keyboard", "laptop", "mouse", "potted_plant"),
        *("remote", "scissors", "teddy_bear", "toothbrush", "tv", "vase"),
        *("fire_hydrant", "parking_meter", "stop_sign", "traffic_light"),
    ),
    "food": (*("apple", "banana", "broccoli", "cake", "carrot", "donut", "hot_dog", "orange", "pizza", "sandwich"),),
    "furniture": ("bed", "bench", "chair", "couch", "desk", "dining_table", "door", "mirror", "toilet", "window"),
    "kitchen": (
        *("blender", "bowl", "cup", "fork", "knife", "microwave", "oven", "plate", "refrigerator", "sink", "spoon"),
        *("toaster", "wine_glass"),
    ),
    "sports": (
        *("baseball_bat", "baseball_glove", "frisbee", "kite", "skateboard", "skis", "snowboard", "sports_ball"),
        *("surfboard", "tennis_racket"),
    ),
    "transport": ("airplane", "bicycle", "boat", "bus", "car", "motorcycle", "train", "truck"),
}
"""The published seven categories; the assignment of objects to them is ours, after COCO's supercategories."""

_OTHER = "other"


@dataclass(frozen=True, slots=True)
class CategorySummary:
    """One category of objects.

    Attributes:
        category: its name.
        samples: number of rows.
        f1: mean over rows.
        precision: without a threshold, as released: hits (any probability > 0 on a true vertex) over the sum of all
            probabilities, pooled over the rows.
        recall: those hits over the number of true vertices, pooled.
        geodesic: mean false-positive distance over rows, in the unit of the distance matrix.
    """

    category: str
    samples: int
    f1: float
    precision: float
    recall: float
    geodesic: float


@dataclass(frozen=True, slots=True)
class DamonSummary:
    """The published numbers; distances in the unit of the distance matrix.

    Attributes:
        semantic_f1: mean over rows.
        semantic_geodesic: mean over rows.
        categories: in the order in which they first appear.
        binary_f1: mean over photos, each photo's rows united (largest probability per vertex).
        binary_precision: pooled over the vertices of all photos.
        binary_recall: pooled over the vertices of all photos.
        binary_geodesic: mean over photos of the largest distance among a photo's rows.
    """

    semantic_f1: float
    semantic_geodesic: float
    categories: tuple[CategorySummary, ...]
    binary_f1: float
    binary_precision: float
    binary_recall: float
    binary_geodesic: float


def category_of(object_name: str) -> str:
    """The category of a DAMON object ("cell_phone" or "cell phone"), "other" when it is none of them."""
    name = object_name.strip().lower().replace(" ", "_")
    return next((category for category, names in DAMON_CATEGORIES.items() if name in names), _OTHER)


def summarize_damon(
    prediction: FloatArray, truth: FloatArray, photos: Sequence[str], objects: Sequence[str], distances: FloatArray
) -> DamonSummary:
    """Compute the summary with the release's definitions, which `DamonSummary` spells out.

    Args:
        prediction: probabilities [S, V].
        truth: like `prediction`; > 0 is contact.
        photos: photo of each row.
        objects: object name of each row.
        distances: geodesic distances [V, V].

    Raises:
        InputError: when shapes or lengths disagree.
    """
    for name, values in (("photos", photos), ("objects", objects)):
        if len(values) != len(prediction):
            raise InputError(name, f"has {len(values)} entries for {len(prediction)} rows of predictions")
    f1 = contact_scores(prediction, truth).f1
    geodesic = geodesic_errors(prediction >= CONTACT_THRESHOLD, truth > 0, distances).false_positive

    def category(name: str, rows: NDArray[np.intp]) -> CategorySummary:
        hits = float(((prediction[rows] > 0) & (truth[rows] > 0)).sum())
        return CategorySummary(
            category=name,
            samples=len(rows),
            f1=float(f1[rows].mean()),
            precision=_share(hits, float(prediction[rows].sum(dtype=np.float64))),
            recall=_share(hits, float((truth[rows] > 0).sum())),
            geodesic=float(geodesic[rows].mean()),
        )

    by_category = _rows_by([category_of(name) for name in objects])
    by_photo = _rows_by(photos)
    united = np.stack([prediction[rows].max(0) for rows in by_photo.values()])
    united_truth = np.stack([truth[rows].max(0) for rows in by_photo.values()])
    touched, true = united >= CONTACT_THRESHOLD, united_truth > 0
    hits = float((touched & true).sum())
    return DamonSummary(
        semantic_f1=float(f1.mean()),
        semantic_geodesic=float(geodesic.mean()),
        categories=tuple(category(name, rows) for name, rows in by_category.items()),
        binary_f1=float(contact_scores(united, united_truth).f1.mean()),
        binary_precision=_share(hits, float(touched.sum())),
        binary_recall=_share(hits, float(true.sum())),
        binary_geodesic=float(np.mean([geodesic[rows].max() for rows in by_photo.values()])),
    )


def _rows_by(labels: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    return {label: np.flatnonzero([other == label for other in labels]) for label in dict.fromkeys(labels)}


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
