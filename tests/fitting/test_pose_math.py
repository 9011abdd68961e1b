from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.fitting.camera import PhotoCamera
from interactvlm.fitting.poses import Poses
from interactvlm.fitting.rotations import rotation_angle, rotation_from_6d, rotation_to_6d, spread_rotations

seeds = st.integers(0, 2**16)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None)
@given(seeds)
def test_six_numbers_give_a_rotation_and_come_back(seed: int) -> None:
    rotation = rotation_from_6d(random(seed, 4, 6))
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(4, 3, 3))
    assert (torch.linalg.det(rotation) > 0).all()
    torch.testing.assert_close(rotation_from_6d(rotation_to_6d(rotation)), rotation)


def test_angles_between_rotations() -> None:
    for degrees in (0.0, 1e-3, 30.0, 179.0, 180.0):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=torch.float64)
        base = rotation_from_6d(random(3, 6))
        assert math.degrees(rotation_angle(base, turn @ base)) == pytest.approx(degrees, abs=1e-6)


def test_rotations_are_spread_evenly_and_by_seed() -> None:
    rotations = spread_rotations(96, seed=1)
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3, dtype=torch.float64).expand(96, 3, 3))
    assert torch.equal(rotations, spread_rotations(96, seed=1))
    assert not torch.equal(rotations, spread_rotations(96, seed=2))
    anywhere = rotation_from_6d(random(0, 400, 6))
    nearest = rotation_angle(anywhere[:, None], rotations[None]).amin(1)
    assert math.degrees(nearest.max()) < 50


@settings(deadline=None)
@given(seeds)
def test_poses_encode_apply_and_recentre(seed: int) -> None:
    parameters, points, centre = random(seed, 2, 3, 10), random(seed + 1, 2, 1, 7, 3), random(seed + 2, 2, 1, 3)
    poses = Poses.decode(parameters)
    again = Poses.decode(poses.encode())
    torch.testing.assert_close(again.apply(points), poses.apply(points))
    torch.testing.assert_close(poses.recentred(centre).apply(points), poses.apply(points - centre[..., None, :]))
    one = poses.each(lambda values: values[1, 2])
    expected = one.scale * points[1, 0] @ one.rotation + one.translation
    torch.testing.assert_close(poses.apply(points)[1, 2], expected)
    torch.testing.assert_close(poses.turn(points)[1, 2], points[1, 0] @ one.rotation)


def test_projection_and_back() -> None:
    camera = PhotoCamera.from_body_crop((6.0, 3.0, 30.0, 40.0))
    x, y, depth = camera.project(torch.tensor([[0.3, -0.2, 4.0]], dtype=torch.float64))[0].tolist()
    assert camera.unproject(x, y, depth) == pytest.approx((0.3, -0.2, 4.0))
    assert camera.project(torch.tensor([[0.0, 0.0, 2.0]])).tolist() == [[21.0, 23.0, 2.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotation_from_6d(torch.zeros(5)), "rotation: has shape"),
        (lambda: rotation_to_6d(torch.zeros(3, 2)), "rotation: has shape"),
        (lambda: spread_rotations(0, seed=0), "count: is 0"),
        (lambda: Poses(torch.eye(3), torch.zeros(2), torch.ones(())), "poses: have shapes"),
        (lambda: PhotoCamera.from_body_crop((0, 0, 0, 5)), "box: is 0 x 5 pixels"),
    ],
)
def test_wrong_input_is_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_starts_are_joined() -> None:
    one, other = Poses.decode(random(0, 2, 3, 10)), Poses.decode(random(1, 2, 1, 10))
    both = one.joined(other)
    assert both.scale.shape == (2, 4)
    assert torch.equal(both.rotation[:, 3], other.rotation[:, 0])
    assert torch.equal(both.translation[:, :3], one.translation)
