from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from interactvlm.errors import InputError
from interactvlm.mvloc.lift import HardLift, Lift, MeshLift, PointLift, SoftLift


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int, torch.Tensor]:
    """Maps with overlapping, repeated and unseen vertices, empty views included, and logits of any scale."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    views, side, grid = draw(st.integers(1, 4)), draw(st.sampled_from([4, 8, 12])), draw(st.sampled_from([2, 4, 8]))
    count, questions = draw(st.integers(1, 30)), draw(st.integers(1, 6))
    ids = rng.integers(0, count, (views, side, side, 3))
    ids[rng.random((views, side, side)) < draw(st.floats(0, 1))] = -1
    weights = rng.dirichlet([1, 1, 1], (views, side, side)).astype(np.float32)
    logits = torch.from_numpy(rng.normal(0, draw(st.sampled_from([0.5, 5, 50])), (questions, views, grid, grid)))
    return ids, weights, count, grid, logits.float()


def scattered(ids: np.ndarray, weights: np.ndarray, count: int, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of weight x pixel and of weight, [J, V] each, one pixel at a time."""
    value, total = np.zeros((len(ids), count)), np.zeros((len(ids), count))
    for view, row, column in zip(*np.nonzero((ids >= 0).all(-1)), strict=True):
        for vertex, weight in zip(ids[view, row, column], weights[view, row, column], strict=True):
            value[view, vertex] += float(weight) * pixels[view, row, column]
            total[view, vertex] += float(weight)
    return value, total


def means(value: np.ndarray, total: np.ndarray) -> np.ndarray:
    seen = total > 0
    return np.where(seen, value / np.where(seen, total, 1), 0).sum(0) / np.maximum(seen.sum(0), 1)


def full_resolution(logits: torch.Tensor, side: int) -> np.ndarray:
    return F.interpolate(logits, (side, side), mode="bilinear", align_corners=False).double().numpy()


@settings(max_examples=40, deadline=None)
@given(scenes())
def test_soft_lift_is_the_dense_scatter(scene: tuple[np.ndarray, np.ndarray, int, int, torch.Tensor]) -> None:
    ids, weights, count, grid, logits = scene
    lifted = SoftLift(ids, weights, count=count, grid=grid)(logits).numpy()
    assert lifted.shape == (len(logits), count)
    for ours, full in zip(lifted, full_resolution(logits, ids.shape[1]), strict=True):
        expected = means(*scattered(ids, weights, count, 1 / (1 + np.exp(-np.clip(full, -20, 20)))))
        np.testing.assert_allclose(ours, expected, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(scenes())
def test_mesh_and_hard_lifts_are_dense_scatters(scene: tuple[np.ndarray, np.ndarray, int, int, torch.Tensor]) -> None:
    ids, weights, count, grid, logits = scene
    side = ids.shape[1]
    # Away from the thresholds, where rounding may decide.
    full = full_resolution(logits, side)
    if np.abs(full - 0.3).min() < 1e-4 or np.abs(1 / (1 + np.exp(-np.clip(full, -50, 50))) - 0.3).min() < 1e-5:
        return
    mesh = MeshLift(ids, weights, count=count, grid=grid)(logits).numpy()
    hard = HardLift(ids, weights, count=count, grid=grid)(logits).numpy()
    for i, pixels in enumerate(full):
        probability = 1 / (1 + np.exp(-np.clip(pixels, -50, 50)))
        active = probability > 0.3
        value, _ = scattered(ids, weights, count, probability * active)
        total, _ = scattered(ids, weights, count, active.astype(float))
        np.testing.assert_allclose(mesh[i], means(value, total), atol=2e-5)
        touched = (pixels > 0.3).astype(float)
        weight, _ = scattered(ids, weights, count, touched)
        hits, _ = scattered(ids, np.ones_like(weights), count, touched)
        mean = weight.sum(0) / np.maximum(hits.sum(0), 1)
        decided = np.abs(mean - 0.3) > 1e-5
        np.testing.assert_array_equal(hard[i][decided], (mean > 0.3)[decided])


@settings(max_examples=20, deadline=None)
@given(scenes(), st.randoms(use_true_random=False))
def test_order_of_vertices_views_and_questions_does_not_matter(
    scene: tuple[np.ndarray, np.ndarray, int, int, torch.Tensor], random: object
) -> None:
    ids, weights, count, grid, logits = scene
    rng = np.random.default_rng(3)
    vertex, view, question = (rng.permutation(n) for n in (count, len(ids), len(logits)))
    renamed = np.where(ids < 0, -1, vertex[np.maximum(ids, 0)])
    for kind in (SoftLift, MeshLift):
        plain = kind(ids, weights, count=count, grid=grid)(logits)
        other = kind(renamed[view], weights[view], count=count, grid=grid)(logits[question][:, view])
        torch.testing.assert_close(other[:, vertex], plain[question], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [SoftLift, HardLift, MeshLift])
def test_one_question_in_a_batch_is_that_question_alone(kind: type[Lift]) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(-1, 50, (4, 16, 16, 3))
    weights = rng.dirichlet([1, 1, 1], (4, 16, 16))
    lift = kind(ids, weights, count=50, grid=8)
    logits = torch.from_numpy(rng.normal(size=(9, 4, 8, 8))).float()
    together = lift(logits)
    for i in range(9):
        torch.testing.assert_close(lift(logits[i : i + 1])[0], together[i], atol=1e-6, rtol=0)


def test_points_outside_the_render_keep_raw_logits() -> None:
    ids = np.array([[[0, 1], [1, -1]]])
    valid = np.array([[[True, True], [False, True]]])
    logits = torch.tensor([[[[2.0, -1.0], [5.0, 9.0]]]])
    lifted = PointLift(ids, valid, count=3, grid=2)(logits)[0]
    expected = [1 / (1 + np.exp(-2)), (1 / (1 + np.exp(1)) + 5) / 2, 0]
    np.testing.assert_allclose(lifted, expected, atol=1e-6)


def test_gradients_reach_the_logits() -> None:
    rng = np.random.default_rng(1)
    lift = SoftLift(rng.integers(0, 9, (2, 6, 6, 3)), rng.dirichlet([1, 1, 1], (2, 6, 6)), count=9, grid=3)
    logits = torch.zeros(2, 2, 3, 3, requires_grad=True)
    lift(logits).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad > 0).all()


def test_what_does_not_fit_is_named() -> None:
    ids, weights = np.zeros((4, 8, 8, 3), dtype=int), np.ones((4, 8, 8, 3))
    with pytest.raises(InputError, match="name vertex 0 of a surface of 0"):
        SoftLift(ids, weights, count=0, grid=4)
    with pytest.raises(InputError, match="have shapes"):
        SoftLift(ids, weights[..., :2], count=1, grid=4)
    with pytest.raises(InputError, match=r"need \[Q, 4, 4, 4\]"):
        SoftLift(ids, weights, count=1, grid=4)(torch.zeros(1, 4, 8, 8))


def test_benchmark_reports_what_it_promises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.lift import main

    monkeypatch.setattr("sys.argv", ["lift", "--json", "--quick"])
    main()
    result = json.loads(capsys.readouterr().out)
    assert result["max_abs_diff"] < 1e-5
    assert {"ours_s", "dense_s", "ratio", "floor_s"} <= result.keys()
    assert [case["questions"] for case in result["cases"]] == [1, 8]


@settings(max_examples=25, deadline=None)
@given(scenes(), st.sampled_from([SoftLift, MeshLift]))
def test_gradients_are_finite_even_where_nothing_is_seen(scene: tuple, kind: type[Lift]) -> None:
    ids, weights, count, grid, logits = scene
    logits.requires_grad_()
    kind(ids, weights, count=count, grid=grid)(logits).sum().backward()
    assert torch.isfinite(logits.grad).all()
