from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.body.parts import PART_NAMES
from interactvlm.errors import InputError
from interactvlm.evaluation.geodesic import SurfaceDistances
from interactvlm.evaluation.metrics import affordance_scores, deco_contact_scores, geodesic_errors
from interactvlm.evaluation.predictions import Answer
from interactvlm.evaluation.scores import score_answers
from interactvlm.evaluation.truth import TruthSet, collect_truths, supercategory_of
from interactvlm.types import Task
from tests.evaluation.fakes import sample_of


def answers_of(truths: TruthSet, predict) -> list[Answer]:
    human = [Answer(row.sample_id, row.key, predict(truths.body.vertex_count, row.vertices)) for row in truths.human]
    return human + [
        Answer(row.sample_id, row.key, predict(len(row.values), np.flatnonzero(row.values >= 0.5), row.values))
        for row in truths.objects
    ]


def perfect(count: int, true: np.ndarray, heat: np.ndarray | None = None) -> np.ndarray:
    if heat is not None:
        return heat
    values = np.zeros(count, np.float32)
    values[true] = 1
    return values


def empty(count: int, true: np.ndarray, heat: np.ndarray | None = None) -> np.ndarray:
    return np.zeros(count, np.float32)


def test_a_perfect_prediction(make_samples, small_body) -> None:
    truths = collect_truths(make_samples(), small_body)
    scores = score_answers("perfect", answers_of(truths, perfect), truths)
    touched = np.array([row.touched for row in truths.human])
    assert (scores.human.f1[touched] == 1).all()
    assert (scores.human.precision[touched] == 1).all()
    assert (scores.human.geodesic_cm == 0).all()
    assert (scores.human.silent == ~touched).all()
    assert scores.human.right_side[scores.human.one_handed].all()
    np.testing.assert_allclose(scores.objects.similarity, 1)
    np.testing.assert_allclose(scores.objects.auc, 1)
    np.testing.assert_allclose(scores.objects.absolute_error, 0)
    assert scores.reliability.expected_error == 0


def test_an_empty_prediction(make_samples, small_body) -> None:
    truths = collect_truths(make_samples(), small_body)
    scores = score_answers("empty", answers_of(truths, empty), truths)
    touched = np.array([row.touched for row in truths.human])
    assert (scores.human.f1 == 0).all()
    assert (scores.human.precision == 1).all()  # DECO's convention
    assert (scores.human.recall == 0).all()
    assert scores.human.silent.all()
    assert not scores.human.right_side[scores.human.one_handed].any()
    whole = [100 * row.distance.mean(dtype=np.float64) for row in truths.human if row.touched]
    np.testing.assert_allclose(scores.human.geodesic_cm[touched], whole)
    assert (scores.objects.similarity == 0).all()
    np.testing.assert_allclose(scores.objects.auc, 0.5)


def test_everything_predicted_has_the_share_of_contact_as_precision(make_samples, small_body) -> None:
    truths = collect_truths(make_samples(), small_body)
    scores = score_answers("all", answers_of(truths, lambda count, *_: np.ones(count, np.float32)), truths)
    touched = np.array([row.touched for row in truths.human])
    share = 12 / small_body.vertex_count
    np.testing.assert_allclose(scores.human.precision[touched], share)
    np.testing.assert_allclose(scores.human.f1[touched], 2 * share / (1 + share))
    assert (scores.human.recall == 1).all()  # DECO's convention where nothing is true


def test_a_random_prediction_finds_what_chance_finds(make_samples, small_body) -> None:
    truths = collect_truths(make_samples(40), small_body, distances=False)
    rng = np.random.default_rng(0)
    scores = score_answers("random", answers_of(truths, lambda n, *_: rng.random(n).astype(np.float32)), truths)
    touched = np.array([row.touched for row in truths.human])
    assert scores.human.recall[touched].mean() == pytest.approx(0.5, abs=0.06)
    assert scores.human.precision[touched].mean() == pytest.approx(12 / small_body.vertex_count, rel=0.15)
    assert scores.objects.auc.mean() == pytest.approx(0.5, abs=0.06)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.0, 0.4), st.floats(0.0, 0.4))
def test_counts_agree_with_the_golden_tested_measures(small_body, seed: int, share: float, predicted: float) -> None:
    rng = np.random.default_rng(seed)
    count = small_body.vertex_count
    touched = np.flatnonzero(rng.random(count) < share)
    truths = collect_truths([sample_of(0, small_body, touched=touched.tolist())], small_body)
    truths = dataclasses.replace(truths, human=truths.human[:1])
    values = np.where(rng.random(count) < predicted, 0.7, 0.2).astype(np.float32)
    scores = score_answers("m", [Answer("0000", truths.human[0].key, values)], truths).human
    true = np.zeros(count, np.float32)
    true[touched] = 1
    expected = deco_contact_scores(values[None], true[None])
    np.testing.assert_allclose(scores.f1, expected.f1)
    np.testing.assert_allclose(scores.precision, expected.precision)
    np.testing.assert_allclose(scores.recall, expected.recall)
    if len(touched):
        field = SurfaceDistances(small_body.as_mesh()).to_nearest(touched)
        distances = np.repeat(field[:, None], count, axis=1)  # any true column is the nearest one
        error = geodesic_errors((values >= 0.5)[None], true[None] > 0, distances).false_positive
        np.testing.assert_allclose(scores.geodesic_cm, 100 * error, rtol=2e-3)


def test_object_rows_are_piads(make_samples, small_body) -> None:
    truths = collect_truths(make_samples(3), small_body, distances=False)
    rng = np.random.default_rng(1)
    values = [rng.random(40).astype(np.float32) for _ in truths.objects]
    answers = [Answer(row.sample_id, row.key, value) for row, value in zip(truths.objects, values, strict=True)]
    scores = score_answers("m", answers, truths).objects
    expected = affordance_scores(np.stack(values), np.stack([row.values for row in truths.objects]))
    np.testing.assert_allclose(scores.similarity, expected.similarity)
    np.testing.assert_allclose(scores.iou, expected.iou)
    assert scores.answered.all()


def hand(body, side: str) -> list[int]:
    return np.flatnonzero(body.part_index == PART_NAMES.index(f"{side} hand"))[:20].tolist()


@pytest.mark.parametrize(
    ("touching", "predicted", "right"),
    [(["left"], ["left"], True), (["left"], ["right"], False), (["right"], ["right"], True), (["right"], [], False),
     (["left"], ["left", "right"], False)],
)  # fmt: skip
def test_left_and_right(small_body, touching: list[str], predicted: list[str], right: bool) -> None:
    touched = [vertex for side in touching for vertex in hand(small_body, side)]
    truths = collect_truths([sample_of(0, small_body, touched=touched)], small_body, distances=False)
    values = np.zeros(small_body.vertex_count, np.float32)
    for side in predicted:
        values[hand(small_body, side)] = 0.9
    row = next(row for row in truths.human if row.task is Task.SEMANTIC and row.touched)
    scores = score_answers("m", [Answer("0000", row.key, values)], truths).human
    index = truths.human.index(row)
    assert scores.one_handed[index]
    assert scores.right_side[index] == right


def test_two_hands_are_not_one_handed(small_body) -> None:
    both = [*hand(small_body, "left"), *hand(small_body, "right")]
    truths = collect_truths([sample_of(0, small_body, touched=both)], small_body, distances=False)
    assert not score_answers("m", [], truths).human.one_handed.any()


def test_what_failed_counts_as_nothing_predicted_and_is_told(make_samples, small_body) -> None:
    truths = collect_truths(make_samples(2), small_body)
    answers = [dataclasses.replace(answer, error="ended") for answer in answers_of(truths, perfect)]
    scores = score_answers("m", answers, truths)
    assert scores.human.failed.all()
    assert scores.objects.failed.all()
    assert (scores.human.f1 == 0).all()
    assert scores.errors == ("ended",)


def test_another_body_is_refused(make_samples, small_body) -> None:
    with pytest.raises(InputError, match="annotated on the body 'anny', scoring runs on 'smplx'"):
        collect_truths(make_samples(1), dataclasses.replace(small_body, topology="smplx"))
    truths = collect_truths(make_samples(1), small_body, distances=False)
    with pytest.raises(InputError, match="has 3 predicted values for the body's 642 vertices"):
        score_answers("m", [Answer("0000", truths.human[0].key, np.zeros(3, np.float32))], truths)


def test_annotations_of_one_question_are_united(small_body) -> None:
    sample = sample_of(0, small_body, touched=[1, 2])
    doubled = dataclasses.replace(
        sample, human=(*sample.human, dataclasses.replace(sample.human[1], vertex_ids=np.array([2, 9], np.int32)))
    )
    truths = collect_truths([doubled], small_body, distances=False)
    assert [row.vertices.tolist() for row in truths.human] == [[1, 2], [1, 2, 9], []]


def test_a_vertex_beyond_the_body_is_named(small_body) -> None:
    with pytest.raises(InputError, match="names vertex 642 of the 642 that anny has"):
        collect_truths([sample_of(0, small_body, touched=[642])], small_body)


def test_synonyms_and_what_damon_lacks_have_categories(small_body) -> None:
    plain = sample_of(0, small_body, touched=[1])
    names = ("tennis racket", "stool", "theremin")
    human = tuple(dataclasses.replace(plain.human[1], object_name=name, category="") for name in names)
    truths = collect_truths([dataclasses.replace(plain, human=human)], small_body, distances=False)
    assert [row.category for row in truths.human] == ["tennis_racket", "stool", "theremin"]
    assert [supercategory_of(row.category) for row in truths.human] == ["sports", "furniture", "other"]
    assert supercategory_of("") == ""
