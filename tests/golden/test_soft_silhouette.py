from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.soft_silhouette import find_fragments, soft_silhouette
from interactvlm.geometry.cameras import HUMAN_VIEWS, look_at

FACES_PER_PIXEL = 50
TOLERANCE = 1e-3


@pytest.mark.parametrize("sigma", [1e-4, 1e-3])
def test_soft_silhouette_and_its_gradient(only: Callable[[str], Path], sigma: float) -> None:
    recorded = np.load(only("render/soft_silhouette_*.npz"))
    alpha, weights, gradient = (recorded[f"sigma{sigma}_{name}"] for name in ("alpha", "weights", "grad"))
    faces = torch.from_numpy(recorded["faces"].astype(np.int64))
    vertices = torch.from_numpy(recorded["vertices"]).requires_grad_()
    camera = look_at(HUMAN_VIEWS[:1])
    focal, principal = (torch.tensor(values[0]).float() for values in camera.intrinsics(alpha.shape))
    view = vertices @ torch.tensor(camera.R[0]) + torch.tensor(camera.T[0])
    screen = torch.cat([principal - focal * view[:, :2] / view[:, 2:], view[:, 2:]], dim=1)

    fragments = find_fragments(screen, faces, alpha.shape, sigma=sigma, faces_per_pixel=FACES_PER_PIXEL)
    ours = soft_silhouette(fragments, screen, faces, sigma=sigma)
    (ours * torch.from_numpy(weights)).sum().backward()
    assert np.abs(ours.detach().numpy() - alpha).max() <= TOLERANCE
    assert vertices.grad is not None
    assert np.abs(vertices.grad.numpy() - gradient).max() <= TOLERANCE * np.abs(gradient).max()
