from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from interactvlm.errors import InputError
from interactvlm.evaluation.damon import DAMON_CATEGORIES, category_of, summarize_damon
from interactvlm.evaluation.metrics import (
    affordance_scores,
    contact_scores,
    deco_contact_scores,
    geodesic_errors,
    mean_affordance_scores,
)

rows = hnp.arrays(np.float64, (3, 12), elements=st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
line = np.abs(np.arange(12.0)[:, None] - np.arange(12.0))


@settings(deadline=None)
@given(rows, rows)
def test_scores_stay_in_their_range(prediction: np.ndarray, truth: np.ndarray) -> None:
    for scores in (contact_scores(prediction, truth), deco_contact_scores(prediction, truth)):
        for values in scores:
            assert ((values >= 0) & (values <= 1)).all()


@settings(deadline=None)
@given(rows, rows)
def test_swapping_prediction_and_truth_swaps_precision_and_recall(prediction: np.ndarray, truth: np.ndarray) -> None:
    a, b = (prediction >= 0.5).astype(float), (truth >= 0.5).astype(float)
    forward, backward = contact_scores(a, b), contact_scores(b, a)
    np.testing.assert_allclose(forward.precision, backward.recall)
    np.testing.assert_allclose(forward.f1, backward.f1)
    errors, reverse = geodesic_errors(a > 0, b > 0, line), geodesic_errors(b > 0, a > 0, line)
    np.testing.assert_allclose(errors.false_positive, reverse.false_negative)


@settings(deadline=None)
@given(rows, rows)
def test_affordance_scores_stay_in_their_range(prediction: np.ndarray, truth: np.ndarray) -> None:
    scores = affordance_scores(prediction, truth)
    for values in (scores.similarity, scores.absolute_error, scores.auc, scores.iou):
        assert ((values >= 0) & (values <= 1 + 1e-9)).all()
    assert ((scores.auc == 0) | scores.valid).all()


def test_geodesic_error_on_a_line() -> None:
    predicted, true = np.zeros((1, 12), bool), np.zeros((1, 12), bool)
    predicted[0, [2, 9]] = True
    true[0, [0, 8, 9]] = True
    errors = geodesic_errors(predicted, true, line)
    assert errors.false_positive[0] == pytest.approx((2 + 0) / 2)
    assert errors.false_negative[0] == pytest.approx((2 + 1 + 0) / 3)


def test_auc_gives_ties_half_a_win() -> None:
    scores = affordance_scores(np.array([[0.5, 0.5, 0.1]]), np.array([[1.0, 0.0, 0.0]]))
    assert scores.auc[0] == pytest.approx(0.75)


def test_averages_without_any_valid_sample() -> None:
    means = mean_affordance_scores(affordance_scores(np.ones((2, 4)), np.zeros((2, 4))))
    assert means["auc"] == means["aiou"] == means["valid_samples"] == 0
    assert means["mae"] == 1


def test_damon_unites_the_rows_of_a_photo() -> None:
    prediction, truth = np.zeros((2, 12)), np.zeros((2, 12))
    prediction[0, 0] = prediction[1, 1] = truth[0, 0] = truth[1, 1] = 1
    summary = summarize_damon(prediction, truth, ["a", "a"], ["cell phone", "unheard of"], line)
    assert summary.binary_f1 == summary.semantic_f1 == 1
    assert [c.category for c in summary.categories] == ["everyday-objects", "other"]


def test_no_object_is_in_two_categories() -> None:
    names = [name for names in DAMON_CATEGORIES.values() for name in names]
    assert len(names) == len(set(names))
    assert all(category_of(name) in DAMON_CATEGORIES for name in names)


@pytest.mark.parametrize("call", [contact_scores, deco_contact_scores, affordance_scores])
def test_shapes_that_disagree_are_named(call) -> None:
    with pytest.raises(InputError, match=r"have shapes \[2, 3\] and \[2, 4\]"):
        call(np.zeros((2, 3)), np.zeros((2, 4)))


def test_wrong_distance_matrix_and_row_labels_are_named() -> None:
    mask = np.ones((1, 12), bool)
    with pytest.raises(InputError, match=r"distances: has shape \[3, 3\], \[12, 12\] is needed"):
        geodesic_errors(mask, mask, np.zeros((3, 3)))
    with pytest.raises(InputError, match="photos: has 2 entries for 1 rows"):
        summarize_damon(mask.astype(float), mask.astype(float), ["a", "b"], ["chair"], line)
