from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.fitting.camera import PhotoCamera
from interactvlm.fitting.energies import contact_distance, mask_centroid, normalized_depth
from interactvlm.fitting.icp import align_points, opposing_correspondences
from interactvlm.fitting.rotation import rotation_from_6d, rotation_to_6d

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


@settings(deadline=None)
@given(seeds, st.floats(0.2, 5.0))
def test_alignment_recovers_the_motion(seed: int, scale: float) -> None:
    points, rotation, shift = random(seed, 12, 3), rotation_from_6d(random(seed + 1, 6)), random(seed + 2, 3)
    found = align_points(points, scale * points @ rotation + shift, with_scale=True)
    torch.testing.assert_close(found.rotation, rotation)
    torch.testing.assert_close(found.translation, shift)
    assert found.scale.item() == pytest.approx(scale)
    assert found.rmse.item() == pytest.approx(0, abs=1e-9)


@settings(deadline=None)
@given(seeds)
def test_alignment_never_mirrors(seed: int) -> None:
    points = random(seed, 12, 3)
    found = align_points(points, points * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    assert torch.linalg.det(found.rotation).item() == pytest.approx(1)
    assert found.scale.item() == 1


def test_facing_surfaces_are_preferred_to_nearer_ones() -> None:
    point, normal = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]])
    targets = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, 0.5]])
    facing = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    assert opposing_correspondences(point, normal, targets, facing).tolist() == [1]
    assert opposing_correspondences(point, normal, targets, -facing).tolist() == [0]


def test_projection_and_back() -> None:
    camera = PhotoCamera.from_body_crop((6.0, 3.0, 30.0, 40.0))
    x, y, depth = camera.project(torch.tensor([[0.3, -0.2, 4.0]], dtype=torch.float64))[0].tolist()
    assert camera.unproject(x, y, depth) == pytest.approx((0.3, -0.2, 4.0))
    assert camera.project(torch.tensor([[0.0, 0.0, 2.0]])).tolist() == [[21.0, 23.0, 2.0]]


def test_contact_distance_weighs_pairs() -> None:
    item, body = torch.tensor([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]]), torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    value = contact_distance(item, torch.tensor([0.5, 0.0]), body, torch.tensor([1.0, 0.5]))
    assert value.item() == pytest.approx((5.0 * 1.0 + 1.0 * 0.5) / 1.5)


def test_centroid_and_depth_of_masks() -> None:
    mask = torch.zeros(4, 6)
    assert mask_centroid(mask).tolist() == [0, 0]
    mask[1, 2], mask[3, 4] = 1.0, 0.5
    assert mask_centroid(mask).tolist() == pytest.approx([(1 + 1.5) / 1.5, (2 + 2) / 1.5])
    depth = torch.tensor([[-1.0, 2.0], [3.0, 4.0]])
    assert normalized_depth(depth, background=-1.0).tolist() == [[-1, 0], [0.5, 1]]
    assert normalized_depth(torch.full((1, 2), -1.0), background=-1.0).tolist() == [[-1, -1]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotation_from_6d(torch.zeros(5)), "rotation: has shape"),
        (lambda: rotation_to_6d(torch.zeros(3, 2)), "rotation: has shape"),
        (lambda: align_points(torch.zeros(2, 3), torch.zeros(2, 3)), "N >= 3"),
        (
            lambda: opposing_correspondences(
                torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(0, 3), torch.zeros(0, 3)
            ),
            "targets: is empty",
        ),
        (lambda: PhotoCamera.from_body_crop((0, 0, 0, 5)), "box: is 0 x 5 pixels"),
        (
            lambda: contact_distance(torch.zeros(1, 3), torch.zeros(1), torch.zeros(1, 3), torch.ones(1)),
            "object_weights: has no contact",
        ),
    ],
)
def test_wrong_input_is_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
