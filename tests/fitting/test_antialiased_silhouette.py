from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.outline import find_outlines
from interactvlm.fitting.outline_numba import find_outlines_compiled
from interactvlm.fitting.packed import PackedMeshes
from interactvlm.fitting.poses import Poses
from interactvlm.fitting.rotations import spread_rotations
from interactvlm.fitting.silhouette import render_silhouettes

SIDE, STARTS = 32, 5
MESHES = (
    trimesh.creation.icosphere(2, 0.3),
    trimesh.creation.torus(0.28, 0.1, major_sections=24, minor_sections=12),
    trimesh.creation.box((0.5, 0.3, 0.2)),
)


def packed(meshes: tuple[trimesh.Trimesh, ...] = MESHES) -> PackedMeshes:
    return PackedMeshes.pack([(mesh.vertices, mesh.faces) for mesh in meshes], dtype=torch.float64)


def poses(scenes: int, depth: float = 3.0) -> Poses:
    rotation = spread_rotations(scenes * STARTS, seed=2).reshape(scenes, STARTS, 3, 3)
    translation = torch.tensor([0.1, -0.07, depth]).double().expand(scenes, STARTS, 3)
    return Poses(rotation, translation, torch.ones(scenes, STARTS).double())


def camera(scenes: int, side: int = SIDE) -> tuple[Tensor, Tensor]:
    return torch.full((scenes, 2), 2.5 * side).double(), torch.full((scenes, 2), side / 2).double()


def test_coverage_is_that_of_a_far_finer_image() -> None:
    fine = 16
    image = render_silhouettes(packed(), poses(3), *camera(3), SIDE)
    large = render_silhouettes(packed(), poses(3), *camera(3, SIDE * fine), SIDE * fine)
    area = large.reshape(3, STARTS, SIDE, fine, SIDE, fine).mean((3, 5))
    assert (image.sum((2, 3)) / area.sum((2, 3)) - 1).abs().max() < 0.01
    assert (image - area).abs().mean() < 2e-3
    assert (image - area).abs().max() < 0.6  # at a corner


def test_gradients_agree_with_finite_differences() -> None:
    weights = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()
    start = poses(3).encode().requires_grad_()

    def score(parameters: Tensor) -> Tensor:
        return (render_silhouettes(packed(), Poses.decode(parameters), *camera(3), SIDE) * weights).sum((2, 3))

    (gradient,) = torch.autograd.grad(score(start).sum(), start)
    step = 1e-6
    numeric = torch.zeros_like(gradient)
    with torch.no_grad():
        for i in range(10):
            change = torch.zeros(10).double()
            change[i] = step
            numeric[..., i] = (score(start + change) - score(start - change)) / (2 * step)
    torch.testing.assert_close(gradient, numeric, atol=1e-4 * float(numeric.abs().max()), rtol=0)


def test_the_image_is_continuous_while_outlines_cross_pixels() -> None:
    square = trimesh.creation.box((0.41, 0.41, 0.001))
    steps = torch.linspace(0, 0.08, 161).double()
    translation = torch.stack([steps, torch.full_like(steps, 0.013), torch.full_like(steps, 3.0)], -1)[None]
    many = Poses(torch.eye(3).double().expand(1, 161, 3, 3), translation, torch.ones(1, 161).double())
    image = render_silhouettes(packed((square,)), many, *camera(1), SIDE)
    pixel = 3.0 / (2.5 * SIDE)
    beside_corners = image[:, :, SIDE // 2 - 3 : SIDE // 2 + 3]
    assert beside_corners.diff(dim=1).abs().max() <= 1.05 * 0.0005 / pixel
    columns = torch.arange(SIDE) + 0.5
    centres = (image.sum(2) @ columns.double() / image.sum((2, 3)))[0]
    np.testing.assert_allclose(centres, SIDE / 2 + (steps / pixel).numpy(), atol=0.05)


def test_both_searches_find_the_same() -> None:
    meshes = packed()
    points = meshes.posed(poses(3, depth=1.0))
    screen = points[..., :2] / points[..., 2:] * 2 * SIDE + SIDE / 2
    seen = points[..., 2] > 0.9
    one = find_outlines(meshes, screen, seen, 3, SIDE)
    other = find_outlines_compiled(meshes, screen, seen, 3, SIDE)
    assert one.covered.any()
    assert not seen.all()
    assert torch.equal(one.covered, other.covered)
    assert torch.equal(one.edge, other.edge)


def test_scenes_and_starts_do_not_influence_one_another() -> None:
    meshes, together = packed(), render_silhouettes(packed(), poses(3), *camera(3), SIDE)
    chosen = meshes.select([2, 0])
    again = render_silhouettes(chosen, poses(3).each(lambda values: values[[2, 0]]), *camera(2), SIDE)
    assert torch.equal(again, together[[2, 0]])
    one = render_silhouettes(packed(MESHES[1:2]), poses(3).each(lambda values: values[1:2, 3:4]), *camera(1), SIDE)
    assert torch.equal(one[0, 0], together[1, 3])


def test_repeated_vertices_and_rims_change_nothing() -> None:
    whole = MESHES[2]
    torn = (whole.vertices[whole.faces].reshape(-1, 3), np.arange(3 * len(whole.faces)).reshape(-1, 3))
    meshes = PackedMeshes.pack([(whole.vertices, whole.faces), torn], dtype=torch.float64)
    assert meshes.counts == (8, 8)
    assert (meshes.opposite >= 0).all()
    open_box = PackedMeshes.pack([(whole.vertices, whole.faces[2:])], dtype=torch.float64)
    assert (open_box.opposite[:, 1] == -1).sum() == 4
    image = render_silhouettes(open_box, poses(1), *camera(1), SIDE)
    gone = render_silhouettes(meshes.select([1]), poses(1), *camera(1), SIDE)
    assert (gone.sum((2, 3)) - image.sum((2, 3))).min() >= -1e-6


@pytest.mark.parametrize("depth", [-3.0, 0.0, float("nan")])
def test_what_is_not_in_front_of_the_camera_leaves_nothing(depth: float) -> None:
    start = poses(1, depth=depth).encode().requires_grad_()
    ball = packed((trimesh.creation.icosphere(1, 0.04),))
    image = render_silhouettes(ball, Poses.decode(start), *camera(1), SIDE)
    assert image.shape == (1, STARTS, SIDE, SIDE)
    assert image.detach().abs().max() == 0


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match="side: is 1"):
        render_silhouettes(packed(), poses(3), *camera(3), 1)
    with pytest.raises(InputError, match="poses: are of shape"):
        render_silhouettes(packed(), poses(2), *camera(3), SIDE)
