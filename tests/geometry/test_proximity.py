from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.body.surface import closest_points
from interactvlm.geometry.proximity import first_hits, inside_surface, surface_distances


def triangles(mesh: trimesh.Trimesh) -> np.ndarray:
    return np.asarray(mesh.triangles, dtype=np.float64)


BALL = triangles(trimesh.creation.icosphere(subdivisions=2, radius=0.5))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_distances_agree_with_exact_closest_points(seed: int):
    rng = np.random.default_rng(seed)
    soup, points = rng.uniform(-1, 1, (40, 3, 3)), rng.uniform(-1.2, 1.2, (50, 3))
    index, weights = closest_points(points, soup)
    exact = np.linalg.norm(np.einsum("nk,nkc->nc", weights, soup[index]) - points, axis=1)
    assert np.allclose(surface_distances(points, soup, 10.0), exact, atol=1e-9)
    limited = surface_distances(points, soup, 0.2)
    assert np.allclose(limited[exact < 0.2 - 1e-9], exact[exact < 0.2 - 1e-9], atol=1e-9)
    assert np.isinf(limited[exact > 0.2 + 1e-9]).all()


def test_inside_of_a_ball():
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (500, 3))
    radius = np.linalg.norm(points, axis=1)
    found = inside_surface(points, BALL)
    assert found[radius < 0.45].all()
    assert not found[radius > 0.5].any()
    assert (inside_surface(points, BALL[:, ::-1]) == found).all()


def test_pieces_that_overlap_are_inside_once_and_twice():
    two = np.concatenate([BALL, BALL + np.array([0.3, 0, 0])])
    points = np.array([[0.15, 0.0, 0.0], [-0.4, 0.0, 0.0], [0.7, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert inside_surface(points, two).tolist() == [True, True, True, False]


def test_a_bowl_is_empty():
    bowl = BALL[BALL[:, :, 1].max(axis=1) < 0.05]
    assert not inside_surface(np.array([[0.0, 0.4, 0.0]]), bowl).any()


def test_rays_stop_at_the_first_triangle():
    origins = np.array([[0.0, 2.0, 0.0], [0.2, 2.0, 0.1], [3.0, 2.0, 0.0]])
    found = first_hits(origins, np.array([0.0, -1.0, 0.0]), BALL)
    assert found[0] == pytest.approx(1.5, abs=0.01)
    assert 1.5 < found[1] < 1.6
    assert np.isinf(found[2])


def test_nothing_is_far_from_nothing():
    empty = np.zeros((0, 3, 3))
    assert np.isinf(surface_distances(np.zeros((2, 3)), empty, 1.0)).all()
    assert np.isinf(first_hits(np.zeros((2, 3)), np.array([1.0, 0.0, 0.0]), empty)).all()
    assert not inside_surface(np.zeros((2, 3)), empty).any()
    assert len(surface_distances(np.zeros((0, 3)), BALL, 1.0)) == 0
