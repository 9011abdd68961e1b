from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.geometry.cameras import (
    HUMAN_VIEWS,
    OBJECT_DISTANCE_RENDERED,
    OBJECT_VIEWS,
    PixelCameras,
    View,
    at_distance,
    camera_parameters,
    look_at,
)

VIEWS = st.builds(
    View,
    name=st.just("any"),
    distance=st.floats(0.5, 10),
    elevation=st.floats(-85, 85),
    azimuth=st.floats(-360, 360),
    shift_x=st.floats(-1, 1),
    shift_y=st.floats(-1, 1),
)


def test_parameters_of_the_views() -> None:
    np.testing.assert_allclose(
        camera_parameters(HUMAN_VIEWS),
        [
            [0.2, 0.125, 0.875, 0.5, 0.5],
            [0.2, 0.875, 0.875, 0.5, 0.65],
            [0.2, 0.125, 0.375, 0.5, 0.5],
            [0.2, 0.875, 0.375, 0.5, 0.65],
        ],
        atol=1e-7,
    )
    near = camera_parameters(at_distance(OBJECT_VIEWS, OBJECT_DISTANCE_RENDERED))
    assert near.dtype == np.float32
    np.testing.assert_allclose(near[:, 0], 0.15, atol=1e-7)
    np.testing.assert_allclose(near[:, 1:], camera_parameters(OBJECT_VIEWS)[:, 1:])


def test_lights_are_on_the_camera_side() -> None:
    assert [view.light[2] for view in HUMAN_VIEWS] == [3, 3, -3, -3]
    assert [view.light[2] for view in OBJECT_VIEWS] == [3, 3, -3, -3]
    centers = look_at(HUMAN_VIEWS + OBJECT_VIEWS).center
    assert (np.sign(centers[:, 2]) == [1, 1, -1, -1, 1, 1, -1, -1]).all()


@given(VIEWS)
def test_camera_sees_the_origin_in_front(view: View) -> None:
    camera = look_at([view])
    np.testing.assert_allclose(camera.R[0] @ camera.R[0].T, np.eye(3), atol=1e-5)
    assert np.linalg.det(camera.R[0]) == pytest.approx(1, abs=1e-5)
    origin = camera.world_to_view(np.zeros((1, 3), np.float32))[0, 0]
    np.testing.assert_allclose(origin, [view.shift_x, view.shift_y, view.distance], atol=1e-5)
    # The camera's own position is the zero of its view space.
    np.testing.assert_allclose(camera.world_to_view(camera.center)[0], 0, atol=2e-5)


@given(VIEWS, st.integers(1, 300), st.integers(1, 300))
def test_screen_agrees_with_intrinsics(view: View, height: int, width: int) -> None:
    camera = look_at([view])
    points = np.array([[0.1, 0.05, -0.1], [0.0, 0.0, 0.0]])
    in_view = camera.world_to_view(points)
    focal, principal = camera.intrinsics((height, width))
    expected = principal[0] - focal[0] * in_view[0, :, :2] / in_view[0, :, 2:]
    np.testing.assert_allclose(camera.world_to_screen(points, (height, width))[0, :, :2], expected, atol=1e-3)


def test_pixel_camera_is_a_pinhole_camera() -> None:
    camera = PixelCameras.of_photo(np.array([[200.0, 220.0]]), np.array([[64.0, 48.0]]))
    screen = camera.world_to_screen(np.array([[0.5, -0.25, 2.0]]), (96, 128))[0, 0]
    np.testing.assert_allclose(screen, [64 + 200 * 0.25, 48 - 220 * 0.125, 0.5], rtol=1e-6)
