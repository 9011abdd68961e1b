from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from interactvlm.fitting.body_distance import BodyDistance
from interactvlm.fitting.energies.penetration import penetration_energy
from interactvlm.fitting.poses import Poses
from interactvlm.geometry.mesh import Mesh

BALL = trimesh.creation.icosphere(4, 0.1)
SLAB = trimesh.creation.box((0.3, 0.04, 0.3)).subdivide().subdivide().subdivide().subdivide()


def mesh(source: trimesh.Trimesh, shift: tuple[float, float, float]) -> Mesh:
    return Mesh((source.vertices + shift).astype(np.float32), source.faces)


def test_distances_to_a_ball_and_a_slab() -> None:
    ball, slab = mesh(BALL, (1, 2, 3)), mesh(SLAB, (0, 0, 5))
    distance = BodyDistance.build([ball, slab], dtype=torch.float64)
    offsets = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).double()
    offsets *= torch.linspace(0.02, 0.12, 200).double()[:, None] / offsets.norm(dim=1, keepdim=True)
    near_slab = torch.tensor([[0.0, y, 0.0] for y in (-0.04, -0.03, -0.01, 0.0, 0.015, 0.03)]).double()
    points = torch.stack(
        [offsets + torch.tensor([1, 2, 3]), near_slab[torch.arange(200) % 6] + torch.tensor([0, 0, 5])]
    )
    found = distance.at(points[:, None])[:, 0]
    expected = offsets.norm(dim=1) - 0.1
    assert (found[0] - expected).abs().max() < 0.006
    wanted = near_slab[:, 1].abs() - 0.02
    assert (found[1, :6] - wanted).abs().max() < 0.006
    outside = torch.tensor([9.0, 9.0, 9.0]).double().expand(2, 1, 1, 3)
    assert (distance.at(outside) > 0.02).all()
    assert torch.equal(distance.select(torch.tensor([1])).at(points[1:, None]), distance.at(points[:, None])[1:])


def test_beside_a_sharp_edge_is_outside() -> None:
    distance = BodyDistance.build([mesh(SLAB, (0, 0, 0))], dtype=torch.float64)
    beside = torch.tensor([[[[0.175, 0.0, 0.0], [0.175, 0.03, 0.1], [0.0, -0.045, 0.175]]]]).double()
    assert (distance.at(beside) > 0).all()


def test_penetration_is_the_mean_depth_of_what_is_inside() -> None:
    body = BodyDistance.build([mesh(BALL, (0, 0, 0))], dtype=torch.float64)
    surface = torch.tensor([[[0.0, 0, 0.05], [0.0, 0, 0.2], [0.0, 0, 0.3]]]).double()
    shifts = torch.tensor([[[0.0, 0, 0], [0.0, 0, 0.5]]]).double()
    poses = Poses(torch.eye(3).double().expand(1, 2, 3, 3), shifts, torch.ones(1, 2).double())
    energy = penetration_energy(poses, surface, body)[0]
    assert energy[0].item() == pytest.approx(0.05**2 / 0.06, rel=0.15)
    assert energy[1] == 0
