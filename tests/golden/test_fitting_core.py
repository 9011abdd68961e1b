"""What the batched fit shares with the recorded one: the release's own definitions stand in benchmarks/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.fitting_reference import ReleaseScene, prepare_scene, release_energy
from benchmarks.soft_silhouette import find_fragments, soft_silhouette
from interactvlm.fitting.crop import crop_mask
from interactvlm.fitting.energies.centroid import centroid_energy
from interactvlm.fitting.energies.mask_iou import mask_iou_energy
from interactvlm.fitting.icp import align_points
from interactvlm.fitting.packed import PackedMeshes
from interactvlm.fitting.poses import Poses
from interactvlm.fitting.rotations import rotation_from_6d
from interactvlm.fitting.scene import FittingScene, load_scene
from interactvlm.fitting.silhouette import render_silhouettes
from interactvlm.geometry.cameras import HUMAN_VIEWS, look_at

Case = tuple[FittingScene, ReleaseScene, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def cases(golden: Path) -> list[Case]:
    found = []
    for folder in sorted((golden / "fitting").glob("case_*")):
        loaded = load_scene(folder)
        found.append((loaded, prepare_scene(loaded), dict(np.load(folder / "expected.npz"))))
    assert found
    return found


def recorded_poses(expected: dict[str, np.ndarray]) -> tuple[list[str], Poses]:
    names = sorted({name.partition("/")[0] for name in expected if name.startswith("pose_")})
    rotation, translation, scale = (
        torch.stack([torch.from_numpy(expected[f"{name}/{part}"]).reshape(-1) for name in names])
        for part in ("rot6d", "translation", "scale")
    )
    return names, Poses(rotation_from_6d(rotation)[None], translation[None], scale[:, 0][None])


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def test_poses_place_vertices_as_recorded(cases: list[Case]) -> None:
    for _, scene, expected in cases:
        names, poses = recorded_poses(expected)
        placed = poses.apply(scene.object_vertices)
        recorded = np.stack([expected[f"{name}/object_vertices"] for name in names])
        np.testing.assert_allclose(placed[0].numpy(), recorded, atol=1e-4 * np.abs(recorded).max())
        again = Poses.decode(poses.encode())
        np.testing.assert_allclose(again.apply(scene.object_vertices)[0], recorded, atol=1e-4 * np.abs(recorded).max())


def test_alignment_of_the_recorded_first_assignment(cases: list[Case]) -> None:
    for _, scene, expected in cases:
        source, target = scene.object_contact > 0, scene.body_contact >= 0.5
        points, targets = scene.object_vertices[source], scene.body_vertices[target]
        normals, facing = scene.object_normals[source], -scene.body_normals[target]
        match = (torch.cdist(points, targets).square() + torch.cdist(normals, facing).square()).argmin(1)
        found = align_points(points, targets[match], torch.ones(len(points)), torch.ones(2))
        recorded = {name: expected[f"without_centroid_init/{name}"] for name in ("icp_R", "icp_T")}
        np.testing.assert_allclose(found.rotation[None], recorded["icp_R"], atol=1e-4)
        np.testing.assert_allclose(
            found.translation[None], recorded["icp_T"], atol=1e-4 * np.abs(recorded["icp_T"]).max()
        )


def test_silhouettes_of_the_recorded_poses(cases: list[Case]) -> None:
    for _, scene, expected in cases:
        names, poses = recorded_poses(expected)
        recorded = torch.from_numpy(np.stack([expected[f"{name}/silhouette"] for name in names]))
        height, width = scene.object_mask.shape
        ours = full_frame(scene, poses)[:, :height, :width]
        assert (ours - recorded).abs().mean() < 0.01
        # Softness adds a rim: next to an outline both faces of each pair of neighbours cover a little.
        ratio = ours.sum((1, 2)) / recorded.sum((1, 2))
        assert ratio.min() > 0.85
        assert ratio.max() < 1.01


def test_mask_energies_pull_the_same_way_as_the_recorded_ones(cases: list[Case]) -> None:
    """The release's overlap is 1 - I / (A + B) and its centroid pixels squared: other values, the same directions."""
    for _, scene, expected in cases:
        names, poses = recorded_poses(expected)
        for k in range(len(names)):
            rotation, shift, scale = (
                torch.from_numpy(expected[f"{names[k]}/{part}"].copy()) for part in ("rot6d", "translation", "scale")
            )
            shift.requires_grad_()
            release = release_energy(scene, rotation, shift, scale)
            ours_at = poses.translation[:, k : k + 1].clone().requires_grad_()
            image = full_frame(scene, Poses(poses.rotation[:, k : k + 1], ours_at, poses.scale[:, k : k + 1]))[None]
            target, known = square(scene.object_mask)[None], square(torch.ones_like(scene.object_mask))[None]
            terms = {
                "mask": mask_iou_energy(image, target, known),
                "centroid": centroid_energy(image, target, known, torch.zeros(1, 1, 2)),
            }
            for name, theirs in (("mask", release.mask), ("centroid", release.centroid)):
                (wanted,) = torch.autograd.grad(theirs, shift, retain_graph=True)
                (found,) = torch.autograd.grad(terms[name].sum(), ours_at, retain_graph=True)
                # Depth hardly shows in so small a picture: directions in the image plane.
                assert cosine(found[0, 0, :2], wanted[:2]) > 0.75, (names[k], name)


def full_frame(scene: ReleaseScene, poses: Poses) -> Tensor:
    """Silhouettes [K, R, R] in the photo's own pixels, R its longer side."""
    meshes = PackedMeshes.pack([(scene.object_vertices.numpy(), scene.object_faces.numpy())])
    placed = Poses(poses.rotation, poses.translation + scene.body_offset, poses.scale)
    focal, principal = torch.tensor([scene.camera.focal]), torch.tensor([scene.camera.principal])
    return render_silhouettes(meshes, placed, focal, principal, max(scene.object_mask.shape))[0]


def square(image: Tensor) -> Tensor:
    """An image [H, W] with zeros to the right or below, [R, R]."""
    height, width = image.shape
    side = max(height, width)
    return torch.nn.functional.pad(image, (0, side - width, 0, side - height))


def test_cropped_masks_keep_their_area(cases: list[Case]) -> None:
    for loaded, _, _ in cases:
        crop = crop_mask(loaded.object_mask, loaded.camera, 32)
        step = loaded.camera.focal[0] / crop.camera.focal[0]
        assert (crop.target * crop.known).sum() * step**2 == pytest.approx(loaded.object_mask.sum(), rel=1e-4)


def test_gradient_points_where_the_soft_silhouette_does(only: Callable[[str], Path]) -> None:
    recorded = np.load(only("render/soft_silhouette_*.npz"))
    alpha, weights = (recorded[f"sigma0.0001_{name}"] for name in ("alpha", "weights"))
    camera = look_at(HUMAN_VIEWS[:1])
    focal, principal = (torch.tensor(values).float() for values in camera.intrinsics(alpha.shape))
    side = alpha.shape[0]
    # From PyTorch3D's axes to the photo's: x and y change sign.
    view = recorded["vertices"] @ camera.R[0] + camera.T[0]
    view = (view * np.array([-1, -1, 1])).astype(np.float32)
    meshes = PackedMeshes.pack([(view, recorded["faces"])])
    still = Poses(torch.eye(3)[None, None], torch.zeros(1, 1, 3), torch.ones(1, 1))
    start = still.encode().requires_grad_()
    image = render_silhouettes(meshes, Poses.decode(start), focal, principal, side)[0, 0]
    assert np.abs(image.detach().numpy() - alpha).mean() < 0.02

    # The recorded weights are noise from pixel to pixel, which no two formulations blend alike: smoothed ones. That
    # the soft silhouette here is the recorded one, test_soft_silhouette shows.
    smooth = torch.nn.functional.avg_pool2d(torch.from_numpy(weights)[None, None], 9, 1, 4)[0, 0]
    (ours,) = torch.autograd.grad((image * smooth).sum(), start)
    again = still.encode().requires_grad_()
    points = Poses.decode(again).apply(torch.from_numpy(view))[0, 0]
    screen = torch.cat([points[:, :2] / points[:, 2:] * focal + principal, points[:, 2:]], 1)
    faces = torch.from_numpy(recorded["faces"].astype(np.int64))
    soft = soft_silhouette(find_fragments(screen, faces, alpha.shape), screen, faces)
    assert np.abs(soft.detach().numpy() - alpha).max() < 0.05
    (theirs,) = torch.autograd.grad((soft * smooth).sum(), again)
    assert cosine(ours, theirs) > 0.8
