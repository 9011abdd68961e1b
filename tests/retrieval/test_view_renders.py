from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError, MeshError
from interactvlm.geometry.mesh import Mesh
from interactvlm.objects.anchors import object_for
from interactvlm.retrieval.thumbnails import thumbnail
from interactvlm.retrieval.view_renders import (
    BACKGROUND,
    CROP_MARGIN,
    INDEX_VIEWS,
    ViewPose,
    photo_rotation,
    render_object,
)

ANGLES = st.floats(-180, 180)


@settings(max_examples=40, deadline=None)
@given(ANGLES, st.floats(-80, 80), ANGLES)
def test_view_rotations_are_rotations(azimuth: float, elevation: float, roll: float) -> None:
    rotation = photo_rotation(ViewPose(azimuth, elevation, roll)).astype(np.float64)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)


def test_from_the_front_the_top_is_up_and_the_front_is_near() -> None:
    rotation = photo_rotation(ViewPose(0, 0))
    assert np.array([0.0, 1.0, 0.0]) @ rotation == pytest.approx([0, -1, 0], abs=1e-6)  # photo y points down
    assert np.array([0.0, 0.0, 1.0]) @ rotation == pytest.approx([0, 0, -1], abs=1e-6)
    # Azimuth 90: the camera stands at the object's +x, which is then near.
    assert np.array([1.0, 0.0, 0.0]) @ photo_rotation(ViewPose(90, 0)) == pytest.approx([0, 0, -1], abs=1e-6)
    # From above, the top is nearer than the bottom.
    assert (np.array([0.0, 1.0, 0.0]) @ photo_rotation(ViewPose(0, 30)))[2] < 0


def test_roll_turns_the_picture_clockwise() -> None:
    top = np.array([0.0, 1.0, 0.0]) @ photo_rotation(ViewPose(0, 0, 90))
    assert top == pytest.approx([1, 0, 0], abs=1e-6)  # to the right


def test_renders_show_what_the_rotation_says() -> None:
    # A tall thin box with a red top: seen from anywhere, the red pixels' centre lies where the rotation puts the top.
    corners = np.array([[x, y, z] for x in (-0.1, 0.1) for y in (0.0, 1.0) for z in (-0.1, 0.1)], np.float32)
    faces = np.array([[0, 1, 2], [1, 2, 3], [4, 5, 6], [5, 6, 7], [0, 1, 4], [1, 4, 5], [2, 3, 6], [3, 6, 7]], np.int32)
    colours = np.where(corners[:, 1:2] > 0.5, [[255, 0, 0]], [[0, 0, 255]]).astype(np.uint8)
    for pose in (ViewPose(20, 10), ViewPose(200, 35), ViewPose(0, 0, 90), ViewPose(50, 5, -60)):
        images, share = render_object(Mesh(corners, faces, colours), [pose], 84)
        image, inside = images[0].astype(int), share[0] > 0.9
        red, blue = inside & (image[..., 0] > image[..., 2] + 60), inside & (image[..., 2] > image[..., 0] + 60)
        seen = np.argwhere(red).mean(axis=0) - np.argwhere(blue).mean(axis=0)  # row, column
        said = (np.array([0.0, 1.0, 0.0]) @ photo_rotation(pose))[:2]
        assert seen[::-1] / np.linalg.norm(seen) == pytest.approx(said / np.linalg.norm(said), abs=0.12)


def test_the_object_fills_its_crop_but_for_the_margin() -> None:
    images, share = render_object(object_for("generator/bicycle/0").mesh, INDEX_VIEWS[:3], 112)
    assert images.shape == (3, 112, 112, 3)
    assert images.dtype == np.uint8
    for image, covered in zip(images, share, strict=True):
        rows, columns = np.flatnonzero((covered > 0).any(1)), np.flatnonzero((covered > 0).any(0))
        widest = max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        assert widest == pytest.approx(112 * (1 - 2 * CROP_MARGIN), abs=2.5)
        assert (image[covered == 0] == BACKGROUND).all()


def test_windings_do_not_matter() -> None:
    mesh = object_for("generator/cup/0").mesh
    turned = Mesh(mesh.vertices, mesh.faces[:, ::-1].copy(), mesh.vertex_colors)
    first, second = (render_object(one, INDEX_VIEWS[:2], 56)[0].astype(int) for one in (mesh, turned))
    assert np.abs(first - second).max() <= 1


def test_a_mesh_without_extent_has_no_views() -> None:
    point = Mesh(np.ones((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    with pytest.raises(MeshError, match="coincide"):
        render_object(point, INDEX_VIEWS, 28)


@settings(max_examples=10, deadline=None)
@given(st.integers(16, 64))
def test_thumbnails_are_small_pictures_on_white(size: int) -> None:
    picture = thumbnail(object_for("generator/chair/0").mesh, size)
    assert picture.shape == (size, size, 3)
    assert (picture[0, 0] == 255).all()
    assert (picture < 200).any()


@pytest.mark.parametrize("size", [0, 15, 1025])
def test_thumbnails_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="from 16 to 1024"):
        thumbnail(object_for("generator/chair/0").mesh, size)
