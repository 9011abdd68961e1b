"""E_M, second part: how far the rendered silhouette's middle is from the mask's.

    E = || c(k a) - c(k m) || / R,    c(w) = sum_p w_p (x_p, y_p) / sum_p w_p

in sides R of the crop, so that neither the photo's resolution nor the object's distance changes its weight. A pose
whose silhouette lies outside what is known has no centroid: there, the object's projected middle takes its place, and
draws the pose back to where the mask can see it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["centroid_energy"]

_LEAST_AREA = 0.5
"""Pixels that a silhouette must cover to have a centroid."""
_SMOOTH = 1e-6
"""Keeps the norm differentiable at 0, squared sides of the crop."""


def centroid_energy(silhouettes: Tensor, target: Tensor, known: Tensor, projected: Tensor) -> Tensor:
    """Distance of the centroids, [S, K], sides of the crop.

    Args:
        silhouettes: [S, K, R, R] in [0, 1].
        target: [S, R, R] in [0, 1].
        known: [S, R, R] in [0, 1].
        projected: [S, K, 2], the object's projected middle, (x, y) in pixels of the crop.
    """
    side = target.shape[-1]
    centre, mass = _centroid(silhouettes * known[:, None])
    wanted, _ = _centroid((target * known)[:, None])
    centre = torch.where((mass > _LEAST_AREA)[..., None], centre, projected)
    squared = ((centre - wanted) / side).square().sum(-1)
    return torch.sqrt(squared + _SMOOTH) - math.sqrt(_SMOOTH)


def _centroid(image: Tensor) -> tuple[Tensor, Tensor]:
    """Centroids (x, y) [..., 2] in pixels, and masses [...]."""
    at = torch.arange(image.shape[-1], dtype=image.dtype, device=image.device) + 0.5
    columns, rows = image.sum(-2), image.sum(-1)
    mass = columns.sum(-1)
    return torch.stack([columns @ at, rows @ at], -1) / mass.clamp_min(1e-6)[..., None], mass
