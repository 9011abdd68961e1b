from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.fitting.batch import SceneBatch, SizePrior
from interactvlm.fitting.camera import PhotoCamera
from interactvlm.fitting.contact_points import contact_points
from interactvlm.fitting.crop import crop_mask
from interactvlm.geometry.mesh import Mesh

CAMERA = PhotoCamera((100.0, 120.0), (30.0, 20.0))


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 40))
def test_crops_keep_area_and_projection(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 60), dtype=bool)
    top, left = rng.integers(0, 30), rng.integers(0, 50)
    mask[top : top + rng.integers(1, 10), left : left + rng.integers(1, 10)] = True
    crop = crop_mask(mask, CAMERA, side)
    step = CAMERA.focal[0] / crop.camera.focal[0]
    assert (crop.target * crop.known).sum() * step**2 == pytest.approx(mask.sum(), rel=1e-4)
    rows, columns = np.nonzero(mask)
    at = (np.arange(side) + 0.5) * step
    mass = crop.target * crop.known
    x, y = (mass.sum(0) @ at / mass.sum(), mass.sum(1) @ at / mass.sum())
    corner_x = CAMERA.principal[0] - crop.camera.principal[0] * step
    corner_y = CAMERA.principal[1] - crop.camera.principal[1] * step
    assert corner_x + x == pytest.approx(columns.mean() + 0.5, abs=0.51 * step)
    assert corner_y + y == pytest.approx(rows.mean() + 0.5, abs=0.51 * step)
    assert crop.target.min() >= 0
    assert crop.target.max() <= 1


def test_what_is_hidden_or_outside_is_unknown() -> None:
    mask, hidden = np.zeros((40, 60), dtype=bool), np.zeros((40, 60), dtype=bool)
    mask[0:10, 20:30] = True
    hidden[0:40, 25:35] = True
    crop = crop_mask(mask, CAMERA, 20, hidden=hidden)  # one pixel of the photo a pixel
    assert crop.known[:5].max() == 0  # above the photo
    assert crop.known[5:15, 5:15].min() == 1  # the mask wins
    assert crop.known[16:, 10:].max() == 0
    assert crop.known[5:, :10].min() == 1
    np.testing.assert_array_equal(crop.target[5:15, 5:15], 1)
    assert crop.target.sum() == 100


def test_contact_points_are_few_spread_and_deterministic() -> None:
    grid = np.stack(np.meshgrid(np.arange(30), np.arange(30)), -1).reshape(-1, 2) / 30
    vertices = np.concatenate([grid, np.zeros((900, 1))], 1).astype(np.float32)
    cell = np.arange(29)[:, None] * 30 + np.arange(29)
    faces = np.stack([cell, cell + 1, cell + 30], -1).reshape(-1, 3)
    mesh = Mesh(vertices, faces)
    probability = (vertices[:, 0] < 0.5).astype(np.float32)
    found = contact_points(mesh, probability, 0.5, 20)
    assert found.points.shape == (20, 3)
    assert found.points[:, 0].max() < 0.5
    assert np.abs(np.diff(np.sort(found.points[:, 1]))).max() < 0.25
    np.testing.assert_array_equal(found.points, contact_points(mesh, probability, 0.5, 20).points)
    assert len(contact_points(mesh, 0 * probability, 0.5, 20).weights) == 0


def test_large_faces_get_points_between_their_vertices() -> None:
    mesh = Mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2], [0, 2, 3]]))
    found = contact_points(mesh, np.array([1, 0, 0, 1], np.float32), 0.5, 32)
    assert len(found.weights) == 32
    assert (found.weights >= 0.5).all()
    np.testing.assert_allclose(found.normals, np.broadcast_to([0, 0, 1], (32, 3)), atol=1e-6)
    assert found.points[:, 0].max() <= 0.5 + 1e-6
    assert len(np.unique(found.points.round(3), axis=0)) == 32


def test_scenes_are_selected_with_all_they_have(make_scene: Callable) -> None:
    scenes = [make_scene(seed).scene for seed in range(3)]
    batch = SceneBatch.build(scenes, [SizePrior(1, 0.1), None, SizePrior(2, 0.1)], side=12, points=8)
    one = SceneBatch.build(scenes[2:], [SizePrior(2, 0.1)], side=12, points=8)
    chosen = batch.select([2])
    assert len(chosen) == 1
    for name in ("centre", "target", "known", "focal", "principal", "extent", "log_size", "body_centre"):
        torch.testing.assert_close(getattr(chosen, name), getattr(one, name))
    torch.testing.assert_close(chosen.meshes.vertices, one.meshes.vertices)
    assert torch.equal(chosen.meshes.edges, one.meshes.edges)
    assert torch.equal(chosen.meshes.opposite, one.meshes.opposite)
    torch.testing.assert_close(chosen.object_contacts.points, one.object_contacts.points)


def test_wrong_input_is_named(make_scene: Callable) -> None:
    scene = make_scene(0).scene
    with pytest.raises(InputError, match="mask: marks no pixel"):
        crop_mask(np.zeros((4, 4), dtype=bool), CAMERA, 8)
    with pytest.raises(InputError, match="side: is 1"):
        crop_mask(np.ones((4, 4), dtype=bool), CAMERA, 1)
    with pytest.raises(InputError, match="hidden: must be"):
        crop_mask(np.ones((4, 4), dtype=bool), CAMERA, 8, hidden=np.ones((3, 4), dtype=bool))
    with pytest.raises(InputError, match="contact: has shape"):
        contact_points(scene.body, np.zeros(3, np.float32), 0.5, 8)
    with pytest.raises(InputError, match="scenes: are 0"):
        SceneBatch.build([], [], side=8, points=8)
    point = Mesh(np.ones((3, 3), np.float32), np.array([[0, 1, 2]]))
    flat = dataclasses.replace(scene, object_mesh=point, object_contact=np.ones(3, np.float32))
    with pytest.raises(InputError, match="object_mesh: of scene 0 has no extent"):
        SceneBatch.build([flat], [None], side=8, points=8)
