from __future__ import annotations

import numpy as np
import torch
import trimesh

from interactvlm.fitting.clustering import MAX_FACES, few_faces
from interactvlm.fitting.packed import PackedMeshes
from interactvlm.fitting.poses import Poses
from interactvlm.fitting.silhouette import render_silhouettes


def test_small_meshes_only_lose_what_is_repeated() -> None:
    box = trimesh.creation.box((1, 2, 3))
    torn = box.vertices[box.faces].reshape(-1, 3)
    vertices, faces = few_faces(torn, np.concatenate([np.arange(36).reshape(-1, 3), [[0, 0, 1]]]))
    assert vertices.shape == (8, 3)
    assert faces.shape == (12, 3)
    assert trimesh.Trimesh(vertices, faces, process=False).area == np.float64(22)


def test_large_meshes_keep_their_silhouette() -> None:
    fine = trimesh.creation.torus(0.4, 0.12, major_sections=400, minor_sections=200)
    fine.vertices[:, 0] *= 1.3
    assert len(fine.faces) > 5 * MAX_FACES
    assert len(few_faces(fine.vertices, fine.faces)[1]) <= MAX_FACES
    coarse = trimesh.creation.torus(0.4, 0.12, major_sections=80, minor_sections=40)
    coarse.vertices[:, 0] *= 1.3
    meshes = PackedMeshes.pack([(fine.vertices, fine.faces), (coarse.vertices, coarse.faces)])
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    turn = turn * torch.linalg.det(turn)
    poses = Poses(turn.expand(2, 1, 3, 3), torch.tensor([0.0, 0, 4]).expand(2, 1, 3), torch.ones(2, 1))
    focal, principal = torch.full((2, 2), 120.0), torch.full((2, 2), 32.0)
    image = render_silhouettes(meshes, poses, focal, principal, 64)
    assert (image[0] - image[1]).abs().mean() < 0.003
    assert abs(image[0].sum() / image[1].sum() - 1) < 0.02
