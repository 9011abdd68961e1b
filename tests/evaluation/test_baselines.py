from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from interactvlm.errors import InputError
from interactvlm.evaluation.dense import fit_dense
from interactvlm.evaluation.prior import best_threshold, fit_prior, moved_to_half, surfaces_of
from interactvlm.evaluation.scores import score_answers
from interactvlm.evaluation.truth import TruthSet, collect_truths
from interactvlm.types import Task
from tests.evaluation.fakes import CUP, sample_of


def truths_of(samples, body) -> TruthSet:
    return collect_truths(samples, body, distances=False)


def test_the_prior_is_the_mean_of_each_name(small_body) -> None:
    # A cup is held at 0-9 in three photos of four, at 20-29 in one; a bat always at 50-59.
    cups = [sample_of(i, small_body, touched=range(10) if i % 4 else range(20, 30)) for i in range(40)]
    bats = [sample_of(100 + i, small_body, touched=range(50, 60), name="bat") for i in range(40)]
    prior = fit_prior(truths_of([*cups, *bats], small_body), {})
    held_out = truths_of(
        [sample_of(0, small_body, touched=range(10)), sample_of(1, small_body, touched=range(50, 60), name="bat")],
        small_body,
    )
    answers = {(answer.sample_id, answer.key): answer.values for answer in prior.answers(held_out, {})}
    cup = answers["0000", ("semantic", "cup", "")]
    assert np.flatnonzero(cup >= 0.5).tolist() == list(range(10))
    assert (cup[20:30] > 0).all()
    assert np.flatnonzero(answers["0001", ("semantic", "bat", "")] >= 0.5).tolist() == list(range(50, 60))
    assert np.flatnonzero(answers["0000", ("semantic", "chair", "")] >= 0.5).tolist() == []
    scores = score_answers("prior", prior.answers(held_out, {}), held_out).human
    semantic = np.array([row.task is Task.SEMANTIC and row.touched for row in held_out.human])
    assert (scores.f1[semantic] == 1).all()


def test_the_prior_knows_an_unheard_name_by_the_mean_of_all(small_body) -> None:
    training = truths_of([sample_of(i, small_body, touched=range(10)) for i in range(30)], small_body)
    unheard = truths_of([sample_of(0, small_body, touched=[5], name="theremin")], small_body)
    answer = next(a for a in fit_prior(training, {}).answers(unheard, {}) if a.key[1] == "theremin")
    assert np.flatnonzero(answer.values >= 0.5).tolist() == list(range(10))


def test_the_prior_reads_names_alone(make_samples, small_body) -> None:
    prior = fit_prior(truths_of(make_samples(), small_body), surfaces_of(make_samples()))
    ours, others = (truths_of(make_samples(shift=shift), small_body) for shift in (0, 77))
    for a, b in zip(
        prior.answers(ours, {CUP.content_hash: CUP}), prior.answers(others, {CUP.content_hash: CUP}), strict=True
    ):
        np.testing.assert_array_equal(a.values, b.values)


def test_the_prior_of_heat_follows_the_place_on_the_object(small_body) -> None:
    height = (CUP.xyz[:, 1] > 0).astype(float)
    samples = [sample_of(i, small_body, touched=[1], heat=height) for i in range(5)]
    truths = truths_of(samples, small_body)
    prior = fit_prior(truths, surfaces_of(samples))
    scores = score_answers("prior", prior.answers(truths, surfaces_of(samples)), truths).objects
    assert (scores.auc > 0.95).all()
    assert (scores.similarity > 0.9).all()


def test_a_category_varies_where_training_knows_two_interactions(make_samples, small_body) -> None:
    prior = fit_prior(truths_of(make_samples(), small_body), surfaces_of(make_samples()))
    rows = truths_of(make_samples(), small_body).human
    assert {row.key for row in rows if prior.varies(row)} == {("semantic", "cup", "")}
    one = [dataclasses.replace(sample, tags={"template": "hold_left"}) for sample in make_samples()]
    assert not any(map(fit_prior(truths_of(one, small_body), surfaces_of(one)).varies, rows))
    hands = [
        dataclasses.replace(sample, tags={"template": "hold", "hand": ("left", "right")[i % 2]})
        for i, sample in enumerate(one)
    ]
    assert any(map(fit_prior(truths_of(hands, small_body), surfaces_of(hands)).varies, rows))


def test_nothing_to_fit_is_told(small_body) -> None:
    with pytest.raises(InputError, match="training split: holds no annotation"):
        fit_prior(TruthSet(small_body, (), ()), {})


def test_the_threshold_is_the_best_one() -> None:
    probabilities = np.array([0.9, 0.3, 0.3, 0.1], np.float32)
    assert 0.1 < best_threshold(probabilities, [np.array([0, 1, 2])]) <= 0.3
    assert 0.3 < best_threshold(probabilities, [np.array([0])]) <= 0.9
    assert best_threshold(probabilities, []) == 0.5


def test_moving_a_threshold_keeps_order_and_side() -> None:
    values = np.linspace(0, 1, 201).astype(np.float32)
    for threshold in (0.02, 0.3, 0.5, 0.9):
        moved = moved_to_half(values, threshold)
        assert (np.diff(moved) >= 0).all()
        np.testing.assert_array_equal(moved >= 0.5, values.astype(np.float64) >= threshold)
        assert 0 <= moved.min() <= moved.max() <= 1


@pytest.fixture
def coloured(small_body):
    """Photos whose features tell which of two places is touched."""
    places = {0: range(30), 1: range(200, 230)}
    samples = [sample_of(i, small_body, touched=places[i % 2]) for i in range(60)]
    rng = np.random.default_rng(0)
    features = {s.sample_id: (rng.normal(0, 0.1, (64, 6)) + i % 2).astype(np.float16) for i, s in enumerate(samples)}
    return truths_of(samples, small_body), features


@pytest.mark.parametrize("task", [Task.BINARY, Task.SEMANTIC])
def test_the_dense_regressor_learns_what_the_features_show(coloured, task: Task) -> None:
    truths, features = coloured
    ticks: list[tuple[int, int]] = []
    regressor = fit_dense(truths, features, task=task, progress=lambda *tick: ticks.append(tick))
    assert ticks[-1][0] == ticks[-1][1] == len(ticks)
    scores = score_answers("dense", regressor.answers(truths, features), truths).human
    rows = np.array([row.task is task and row.touched for row in truths.human])
    assert scores.answered[rows].all()
    assert scores.f1[rows].mean() > 0.9
    if task is Task.SEMANTIC:
        untouched = np.array([row.task is task and not row.touched for row in truths.human])
        assert scores.silent[untouched].mean() > 0.9


def test_the_dense_regressor_is_the_same_again(coloured) -> None:
    truths, features = coloured
    first, second = (
        list(fit_dense(truths, features, task=Task.BINARY, seed=4).answers(truths, features)) for _ in "ab"
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_the_dense_regressor_needs_two_photos(coloured) -> None:
    truths, _ = coloured
    with pytest.raises(InputError, match="has 0 photos annotated for binary"):
        fit_dense(truths, {}, task=Task.BINARY)
