"""Measures of contact and affordance, per sample (paper section 4.1; conventions of DECO, PIAD and the release).

Shapes: S samples, V vertices (or points). Predictions are probabilities in [0, 1]; true contact is > 0. All results
are float64 [S]. Averaging over samples is the caller's, except where a published average has rules of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError

__all__ = [
    "CONTACT_THRESHOLD",
    "AffordanceScores",
    "ContactScores",
    "GeodesicErrors",
    "affordance_scores",
    "contact_scores",
    "deco_contact_scores",
    "geodesic_errors",
    "mean_affordance_scores",
]

FloatArray = NDArray[np.floating[Any]]
Scores = NDArray[np.float64]

CONTACT_THRESHOLD = 0.5
"""Probabilities from here on count as contact."""

_HEAT_THRESHOLD = 0.5
_IOU_THRESHOLDS = np.linspace(0.0, 1.0, 20)


class ContactScores(NamedTuple):
    """Precision, recall and F1, each float64 [S] in [0, 1]."""

    precision: Scores
    recall: Scores
    f1: Scores


class GeodesicErrors(NamedTuple):
    """Mean surface distances, each float64 [S], in the unit of the distance matrix."""

    false_positive: Scores
    """From each predicted vertex to the nearest true one: the published "geodesic error"."""
    false_negative: Scores
    """From each true vertex to the nearest predicted one."""


@dataclass(frozen=True, slots=True)
class AffordanceScores:
    """PIAD's measures, each [S].

    Attributes:
        similarity: SIM, histogram intersection; 0 when prediction or truth is all zero.
        absolute_error: MAE over the points.
        auc: area under the ROC curve against heat >= 0.5; 0 where `valid` is False.
        iou: aIOU, mean over 20 thresholds from 0 to 1 of the prediction; 0 where `valid` is False.
        valid: whether the truth has points on both sides of 0.5; others are skipped in AUC and aIOU.
    """

    similarity: Scores
    absolute_error: Scores
    auc: Scores
    iou: Scores
    valid: NDArray[np.bool_]


def contact_scores(prediction: FloatArray, truth: FloatArray, *, threshold: float = CONTACT_THRESHOLD) -> ContactScores:
    """Precision, recall and F1 as InteractVLM reports them: a ratio without a denominator is 0.

    Args:
        prediction: probabilities [S, V].
        truth: like `prediction`; > 0 is contact.
        threshold: probabilities from here on are contact.

    Raises:
        InputError: when the arrays are not two-dimensional and of one shape.
    """
    _check_pair(prediction, truth)
    predicted, true = prediction >= threshold, truth > 0
    hits = (predicted & true).sum(1)
    precision = _ratio(hits, predicted.sum(1))
    recall = _ratio(hits, true.sum(1))
    return ContactScores(precision, recall, _ratio(2 * precision * recall, precision + recall))


def deco_contact_scores(
    prediction: FloatArray, truth: FloatArray, *, threshold: float = CONTACT_THRESHOLD
) -> ContactScores:
    """Precision, recall and F1 with DECO's conventions for empty sets.

    No prediction: P = 1, R = 0, F1 = 0. No truth, but a prediction: P = 0, R = 1, F1 = 0.

    Args:
        prediction: probabilities [S, V].
        truth: like `prediction`; > 0 is contact.
        threshold: probabilities from here on are contact.

    Raises:
        InputError: when the arrays are not two-dimensional and of one shape.
    """
    precision, recall, f1 = contact_scores(prediction, truth, threshold=threshold)
    silent = ~(prediction >= threshold).any(1)
    untouched = ~(truth > 0).any(1) & ~silent
    return ContactScores(np.where(silent, 1.0, precision), np.where(untouched, 1.0, recall), f1)


def geodesic_errors(predicted: NDArray[np.bool_], true: NDArray[np.bool_], distances: FloatArray) -> GeodesicErrors:
    """Mean distance from predicted vertices to the nearest true one, and the reverse.

    Empty sets as published: nothing to be near to costs 0; an empty set with something to be near to counts as the
    whole surface (an empty prediction costs the mean distance of all vertices to the truth).

    Args:
        predicted: predicted contact [S, V].
        true: true contact, like `predicted`.
        distances: geodesic distances between vertices [V, V]; metres times 100 gives the published centimetres.

    Raises:
        InputError: when shapes disagree.
    """
    _check_pair(predicted, true)
    vertices = predicted.shape[1]
    if distances.shape != (vertices, vertices):
        raise InputError("distances", f"has shape {list(distances.shape)}, {[vertices, vertices]} is needed")
    false_positive = [_mean_distance(p, t, distances) for p, t in zip(predicted, true, strict=True)]
    false_negative = [_mean_distance(t, p, distances.T) for p, t in zip(predicted, true, strict=True)]
    return GeodesicErrors(np.array(false_positive), np.array(false_negative))


def affordance_scores(prediction: FloatArray, truth: FloatArray) -> AffordanceScores:
    """PIAD's SIM, MAE, AUC and aIOU per sample. SIM is IAGNet's as well.

    Args:
        prediction: heat [S, N] in [0, 1].
        truth: heat, like `prediction`.

    Raises:
        InputError: when the arrays are not two-dimensional and of one shape.
    """
    _check_pair(prediction, truth)
    heat, target = prediction.astype(np.float64), truth.astype(np.float64)
    touched = target >= _HEAT_THRESHOLD
    valid: NDArray[np.bool_] = np.logical_and(touched.any(1), ~touched.all(1))
    shares = [_ratio(values, values.sum(1, keepdims=True)) for values in (heat, target)]
    auc = [_area_under_roc(h, t) if ok else 0.0 for h, t, ok in zip(heat, touched, valid, strict=True)]
    iou = [_mean_iou(h, t) if ok else 0.0 for h, t, ok in zip(heat, touched, valid, strict=True)]
    return AffordanceScores(
        similarity=np.minimum(shares[0], shares[1]).sum(1),
        absolute_error=np.abs(heat - target).mean(1),
        auc=np.array(auc),
        iou=np.array(iou),
        valid=valid,
    )


def mean_affordance_scores(scores: AffordanceScores) -> dict[str, float]:
    """The published averages: SIM and MAE over all samples, AUC and aIOU over the valid ones (0 without any).

    Returns:
        Keys "sim", "mae", "auc", "aiou" and "valid_samples".
    """
    count = int(scores.valid.sum())
    return {
        "sim": float(scores.similarity.mean()),
        "mae": float(scores.absolute_error.mean()),
        "auc": float(scores.auc.sum() / max(count, 1)),
        "aiou": float(scores.iou.sum() / max(count, 1)),
        "valid_samples": float(count),
    }


def _check_pair(prediction: NDArray[Any], truth: NDArray[Any]) -> None:
    if prediction.ndim != 2 or prediction.shape != truth.shape or 0 in prediction.shape:
        shapes = f"{list(prediction.shape)} and {list(truth.shape)}"
        raise InputError("prediction and truth", f"have shapes {shapes}, both must be the same non-empty [S, V]")


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> Scores:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), 0.0)


def _mean_distance(sources: NDArray[np.bool_], goals: NDArray[np.bool_], distances: FloatArray) -> float:
    if not goals.any():
        return 0.0
    nearest = distances[:, goals].min(1)
    return float(nearest[sources].mean(dtype=np.float64) if sources.any() else nearest.mean(dtype=np.float64))


def _area_under_roc(scores: Scores, positive: NDArray[np.bool_]) -> float:
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(sizes) - (sizes - 1) / 2  # ties share the mean of their ranks
    hits = int(positive.sum())
    misses = len(positive) - hits
    return float((middle_rank[group][positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def _mean_iou(scores: Scores, positive: NDArray[np.bool_]) -> float:
    above = scores >= _IOU_THRESHOLDS[:, None]
    return float(((above & positive).sum(1) / (above | positive).sum(1)).mean())
