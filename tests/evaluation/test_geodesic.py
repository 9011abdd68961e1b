from __future__ import annotations

import numpy as np
import pytest
import trimesh

from interactvlm.errors import InputError
from interactvlm.evaluation.geodesic import SurfaceDistances
from interactvlm.evaluation.metrics import geodesic_errors
from interactvlm.geometry.mesh import Mesh


def mesh_of(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32))


def test_great_circles_on_a_sphere() -> None:
    sphere = mesh_of(trimesh.creation.icosphere(subdivisions=4))
    found = SurfaceDistances(sphere).to_nearest(np.array([0]))
    angle = np.arccos(np.clip(sphere.vertices @ sphere.vertices[0], -1, 1))
    far = angle > 0.2
    ratio = found[far] / angle[far]
    assert ratio.mean() == pytest.approx(1.01, abs=0.01)
    assert 0.995 < ratio.min() <= ratio.max() < 1.04


def test_straight_lines_on_a_plane_are_never_too_short() -> None:
    side = 15
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + side], 1), np.stack([corner + 1, corner + side + 1, corner + side], 1)]
    )
    plane = Mesh(np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1).astype(np.float32), faces.astype(np.int32))
    found = SurfaceDistances(plane).to_nearest(np.array([0]))
    straight = np.hypot(x, y).ravel()
    assert (found >= straight - 1e-5).all()
    assert (found <= straight * 1.06 + 1e-6).all()


def test_the_nearest_of_many_targets() -> None:
    sphere = SurfaceDistances(mesh_of(trimesh.creation.icosphere(subdivisions=2)))
    one, other = sphere.to_nearest(np.array([3])), sphere.to_nearest(np.array([90]))
    np.testing.assert_allclose(sphere.to_nearest(np.array([90, 3, 3])), np.minimum(one, other), atol=1e-6)
    assert one[3] == 0


def test_pieces_that_are_apart_are_bridged() -> None:
    box = trimesh.creation.box()
    apart = trimesh.util.concatenate([box, box.copy().apply_translation([5, 0, 0])])
    found = SurfaceDistances(mesh_of(apart)).to_nearest(np.arange(8))
    assert (found[:8] == 0).all()
    assert found[8:].min() == pytest.approx(4)
    assert np.isfinite(found).all()


def test_the_matrix_serves_the_published_measures() -> None:
    sphere = SurfaceDistances(mesh_of(trimesh.creation.icosphere(subdivisions=1)))
    distances = sphere.matrix()
    np.testing.assert_allclose(distances, distances.T, atol=1e-5)
    predicted, true = np.zeros((2, 1, sphere.vertex_count), bool)
    predicted[0, [1, 5]] = true[0, [2, 7]] = True
    errors = geodesic_errors(predicted, true, distances)
    assert errors.false_positive[0] == pytest.approx(sphere.to_nearest(np.array([2, 7]))[[1, 5]].mean(), abs=1e-5)


@pytest.mark.parametrize(("targets", "message"), [([], "are empty"), ([42], "name vertices 42 to 42"), ([-1], "-1")])
def test_targets_must_be_vertices(targets: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SurfaceDistances(mesh_of(trimesh.creation.icosphere(subdivisions=1))).to_nearest(np.array(targets, int))
