"""Answers against truth: one row of counts for every question, from which every table is drawn.

R rows, 15 body parts. All shapes are [R] or [R, 15].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.conversion import VertexMap
from interactvlm.body.parts import CONTACT_FRACTION, PART_NAMES
from interactvlm.errors import InputError
from interactvlm.evaluation.calibration import Reliability
from interactvlm.evaluation.metrics import CONTACT_THRESHOLD, affordance_scores
from interactvlm.evaluation.predictions import Answer
from interactvlm.evaluation.truth import TruthSet

__all__ = ["HumanScores", "MethodScores", "ObjectScores", "score_answers"]

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LEFT, _RIGHT = (PART_NAMES.index(f"{side} hand") for side in ("left", "right"))


@dataclass(frozen=True, slots=True, eq=False)
class HumanScores:
    """Counts of vertices by body part, a row for each of `TruthSet.human`.

    Attributes:
        answered: bool [R], False where the method was not asked (a baseline on fewer photos).
        failed: bool [R], asked, but ended in an error; counted as predicting nothing.
        hits: int64 [R, 15], predicted and true.
        predicted: int64 [R, 15].
        true: int64 [R, 15].
        distance: float64 [R, 15], metres from predicted vertices to the nearest true one, summed.
        whole: float64 [R], mean of that distance over all vertices: what an empty prediction costs.
        part_sizes: int64 [15].
    """

    answered: Mask
    failed: Mask
    hits: NDArray[np.int64]
    predicted: NDArray[np.int64]
    true: NDArray[np.int64]
    distance: Values
    whole: Values
    part_sizes: NDArray[np.int64]

    @property
    def precision(self) -> Values:
        """[R], DECO's conventions: 1 without a prediction."""
        predicted = self.predicted.sum(1)
        return np.where(predicted > 0, _share(self.hits.sum(1), predicted), 1.0)

    @property
    def recall(self) -> Values:
        """[R], DECO's conventions: 1 where nothing is true but something predicted."""
        true, predicted = self.true.sum(1), self.predicted.sum(1)
        return np.where((true == 0) & (predicted > 0), 1.0, _share(self.hits.sum(1), true))

    @property
    def f1(self) -> Values:
        """[R], 0 unless prediction and truth overlap."""
        return _share(2.0 * self.hits.sum(1), self.predicted.sum(1) + self.true.sum(1))

    @property
    def geodesic_cm(self) -> Values:
        """[R], mean distance of a predicted vertex to the nearest true one, centimetres; rows without truth are 0."""
        predicted = self.predicted.sum(1)
        mean = np.where(predicted > 0, _share(self.distance.sum(1), predicted), self.whole)
        return np.asarray(100.0 * mean)

    @property
    def silent(self) -> Mask:
        """[R], no vertex reaches the threshold: "no contact"."""
        return np.asarray(self.predicted.sum(1) == 0)

    def parts(self, of: NDArray[np.int64]) -> Mask:
        """[R, 15], parts in contact by the tenth-of-its-vertices rule; `of` is `predicted` or `true`."""
        return np.asarray((of > 0) & (of >= CONTACT_FRACTION * self.part_sizes - 1e-9))

    @property
    def one_handed(self) -> Mask:
        """[R], exactly one hand is in contact in truth, and nothing of the other."""
        named = self.parts(self.true)
        left = named[:, _LEFT] & (self.true[:, _RIGHT] == 0)
        right = named[:, _RIGHT] & (self.true[:, _LEFT] == 0)
        return np.asarray(left | right)

    @property
    def right_side(self) -> Mask:
        """[R], more predicted vertices on the truly touching hand than on the other (of `one_handed` rows)."""
        left, right = self.predicted[:, _LEFT], self.predicted[:, _RIGHT]
        return np.where(self.true[:, _LEFT] > 0, left > right, right > left)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectScores:
    """PIAD's measures, a row for each of `TruthSet.objects`.

    Attributes:
        answered: bool [R].
        failed: bool [R]; counted as predicting nothing.
        similarity: SIM.
        auc: AUC, where `valid`.
        iou: aIOU, where `valid`.
        absolute_error: MAE.
        valid: whether AUC and aIOU mean anything.
    """

    answered: Mask
    failed: Mask
    similarity: Values
    auc: Values
    iou: Values
    absolute_error: Values
    valid: Mask


@dataclass(frozen=True, slots=True, eq=False)
class MethodScores:
    """One method, all its answers scored.

    Attributes:
        name: as tables print it.
        human: on the body.
        objects: on objects.
        reliability: of the body's probabilities.
        errors: sentences of the questions that failed, each once.
    """

    name: str
    human: HumanScores
    objects: ObjectScores
    reliability: Reliability
    errors: tuple[str, ...] = ()


def score_answers(
    name: str, answers: Iterable[Answer], truths: TruthSet, *, body_map: VertexMap | None = None
) -> MethodScores:
    """Score one method.

    Args:
        name: of the method.
        answers: in any order; those to questions without an annotation are passed over.
        truths: what they are scored against.
        body_map: from the body of the answers to that of the truth, where they differ.

    Raises:
        InputError: an answer has another number of vertices than its truth.
    """
    part_of = truths.body.part_index
    counts = {
        field: np.zeros((len(truths.human), len(PART_NAMES)), np.int64) for field in ("hits", "predicted", "true")
    }
    distance, whole = np.zeros((len(truths.human), len(PART_NAMES))), np.zeros(len(truths.human))
    human_rows = {(truth.sample_id, truth.key): row for row, truth in enumerate(truths.human)}
    object_rows = {(truth.sample_id, truth.key): row for row, truth in enumerate(truths.objects)}
    answered, failed = np.zeros(len(truths.human), bool), np.zeros(len(truths.human), bool)
    for row, human in enumerate(truths.human):
        counts["true"][row] = np.bincount(part_of[human.vertices], minlength=len(PART_NAMES))
        whole[row] = 0.0 if human.distance is None else human.distance.mean(dtype=np.float64)
    objects = _ObjectRows(len(truths.objects))
    reliability = Reliability()
    errors: dict[str, None] = {}
    for answer in answers:
        where = (answer.sample_id, answer.key)
        if answer.error:
            errors[answer.error] = None
        if (row := object_rows.get(where, -1)) >= 0:
            objects.add(row, answer, truths.objects[row].values)
        if (row := human_rows.get(where, -1)) < 0:
            continue
        answered[row], failed[row] = True, bool(answer.error)
        values = np.zeros(len(part_of), np.float32) if answer.error else _on_body(answer, body_map, len(part_of))
        truth = truths.human[row]
        true = np.zeros(len(values), bool)
        true[truth.vertices] = True
        predicted = values >= CONTACT_THRESHOLD
        counts["predicted"][row] = np.bincount(part_of[predicted], minlength=len(PART_NAMES))
        counts["hits"][row] = np.bincount(part_of[predicted & true], minlength=len(PART_NAMES))
        if truth.distance is not None:
            weights = truth.distance[predicted].astype(np.float64)
            distance[row] = np.bincount(part_of[predicted], weights=weights, minlength=len(PART_NAMES))
        if not answer.error:
            reliability.add(values, true)
    human_scores = HumanScores(
        answered=answered,
        failed=failed,
        hits=counts["hits"],
        predicted=counts["predicted"],
        true=counts["true"],
        distance=distance,
        whole=whole,
        part_sizes=np.bincount(part_of, minlength=len(PART_NAMES)),
    )
    return MethodScores(name, human_scores, objects.scores(), reliability, tuple(errors))


class _ObjectRows:
    def __init__(self, count: int) -> None:
        self.answered, self.failed, self.valid = (np.zeros(count, bool) for _ in range(3))
        self.values = np.zeros((4, count))

    def add(self, row: int, answer: Answer, truth: NDArray[np.float32]) -> None:
        self.answered[row], self.failed[row] = True, bool(answer.error)
        values = np.zeros_like(truth) if answer.error else answer.values
        if values.shape != truth.shape:
            raise InputError(
                answer.sample_id, f"has {len(values)} predicted values for the object's {len(truth)} vertices"
            )
        scores = affordance_scores(values[None], truth[None])
        self.values[:, row] = [array[0] for array in (scores.similarity, scores.auc, scores.iou, scores.absolute_error)]
        self.valid[row] = scores.valid[0]

    def scores(self) -> ObjectScores:
        similarity, auc, iou, error = self.values
        return ObjectScores(self.answered, self.failed, similarity, auc, iou, error, self.valid)


def _on_body(answer: Answer, body_map: VertexMap | None, count: int) -> NDArray[np.float32]:
    values = answer.values if body_map is None else body_map.apply(answer.values)
    if values.shape != (count,):
        raise InputError(answer.sample_id, f"has {len(values)} predicted values for the body's {count} vertices")
    return values


def _share(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Values:
    top, bottom = part.astype(np.float64), whole.astype(np.float64)
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
