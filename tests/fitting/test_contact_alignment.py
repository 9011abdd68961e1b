from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.fitting.batch import Contacts, SceneBatch, SizePrior
from interactvlm.fitting.correspondence import facing_pairs
from interactvlm.fitting.icp import align_contacts, align_points
from interactvlm.fitting.poses import Poses
from interactvlm.fitting.rotations import rotation_angle, rotation_from_6d, spread_rotations
from interactvlm.fitting.starts import best_starts, initial_poses, scale_range

seeds = st.integers(0, 2**16)
FREE = torch.tensor([0.01, 100.0]).double()


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None)
@given(seeds, st.floats(0.2, 5.0))
def test_alignment_recovers_the_motion(seed: int, scale: float) -> None:
    points, rotation, shift = random(seed, 2, 12, 3), rotation_from_6d(random(seed + 1, 2, 6)), random(seed + 2, 2, 3)
    true = Poses(rotation, shift, torch.full((2,), scale).double())
    target = true.apply(points)
    weights = torch.ones(2, 12).double()
    target[:, 0] += 100
    weights[:, 0] = 0  # does not count
    found = align_points(points, target, weights, FREE)
    torch.testing.assert_close(found.rotation, rotation)
    torch.testing.assert_close(found.translation, shift)
    torch.testing.assert_close(found.scale, true.scale)
    limited = align_points(points, target, weights, torch.tensor([1.0, 1.0]).double())
    assert (limited.scale == 1).all()


@settings(deadline=None)
@given(seeds)
def test_alignment_is_never_a_mirror_image(seed: int) -> None:
    points = random(seed, 12, 3)
    mirrored = points * torch.tensor([1.0, 1.0, -1.0]).double()
    found = align_points(points, mirrored, torch.ones(12).double(), FREE)
    assert torch.linalg.det(found.rotation).item() == pytest.approx(1)
    flat = points * torch.tensor([1.0, 1.0, 0.0]).double()
    assert torch.linalg.det(align_points(flat, flat, torch.ones(12).double(), FREE).rotation).item() == pytest.approx(1)


def test_nothing_to_align_moves_nothing() -> None:
    found = align_points(random(0, 4, 3), random(1, 4, 3), torch.zeros(4).double(), FREE)
    assert found.translation.abs().max() == 0
    assert found.scale == 1
    with pytest.raises(InputError, match="source, target and weights"):
        align_points(random(0, 4, 3), random(1, 5, 3), torch.zeros(4), FREE)


def test_correspondences_of_surfaces_that_do_not_face_are_dropped() -> None:
    up = torch.tensor([0.0, 0.0, 1.0])
    points = torch.zeros(1, 1, 2, 3)
    points[..., 1, 0] = 1.0
    normals = up.expand(1, 1, 2, 3)
    body = Contacts(
        torch.tensor([[[0.0, 0, 0.02], [1.0, 0, 0.02]]]), torch.stack([-up, up])[None], torch.tensor([[1.0, 0.5]])
    )
    pairs = facing_pairs(points, normals, torch.ones(1, 2), body)
    assert pairs.of_object.tolist() == [[[0, 1]]]
    assert pairs.object_weight.tolist() == [[[1.0, 0.0]]]
    assert pairs.body_weight.tolist() == [[[1.0, 0.0]]]


@pytest.fixture(scope="module")
def batch(make_scene: Callable) -> SceneBatch:
    scenes = [make_scene(seed).scene for seed in (0, 1, 2)]
    return SceneBatch.build(scenes, [SizePrior(0.44, 0.05)] * 3, side=16, points=64, dtype=torch.float64)


def test_contacts_are_aligned_from_several_rotations(batch: SceneBatch, make_scene: Callable) -> None:
    starts = initial_poses(batch, spread_rotations(48, seed=0))
    limits = scale_range(batch)
    found = align_contacts(starts, batch.object_contacts, batch.body_contacts, limits)
    assert ((found.scale >= limits[:, :1]) & (found.scale <= limits[:, 1:])).all()
    for scene in range(3):
        true = torch.tensor(make_scene(scene).rotation)
        degrees = torch.rad2deg(rotation_angle(found.rotation[scene], true))
        assert degrees.min() < 10
    again = align_contacts(found, batch.object_contacts, batch.body_contacts, limits)
    moved = (again.translation - found.translation).norm(dim=-1)
    assert moved.median() < 1e-3  # it had come to rest, with correspondences found anew


def test_a_scene_without_contact_keeps_its_starts(batch: SceneBatch) -> None:
    body = batch.body_contacts
    nothing = Contacts(body.points, body.normals, body.weights * torch.tensor([1.0, 0.0, 1.0]).double()[:, None])
    starts = initial_poses(batch, spread_rotations(4, seed=0))
    found = align_contacts(starts, batch.object_contacts, nothing, scale_range(batch))
    assert torch.equal(found.translation[1], starts.translation[1])
    assert not torch.equal(found.translation[0], starts.translation[0])
    with pytest.raises(InputError, match="iterations: is 0"):
        align_contacts(starts, batch.object_contacts, nothing, scale_range(batch), iterations=0)


def test_the_best_starts_differ() -> None:
    angles = torch.tensor([0.0, 5.0, 90.0, 180.0]).deg2rad()
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    rows = [angles.cos(), angles.sin(), zero, -angles.sin(), angles.cos(), zero, zero, zero, one]
    rotation = torch.stack(rows, -1).reshape(1, 4, 3, 3)
    poses = Poses(rotation, torch.zeros(1, 4, 3), torch.ones(1, 4))
    energy = torch.tensor([[0.2, 0.1, 0.4, 0.3]])
    assert best_starts(poses, energy, torch.ones(1), 4).tolist() == [[1, 3, 2, 0]]
    assert best_starts(poses, energy, torch.ones(1), 2).tolist() == [[1, 3]]
    moved = Poses(rotation, torch.arange(12.0).reshape(1, 4, 3), torch.ones(1, 4))
    assert best_starts(moved, energy, torch.ones(1), 4).tolist() == [[1, 0, 3, 2]]
    worst = torch.full((1, 4), math.inf)
    assert sorted(best_starts(poses, worst, torch.ones(1), 4)[0].tolist()) == [0, 1, 2, 3]
