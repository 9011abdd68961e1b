"""Rigid alignment of object contact onto body contact (paper section 5, initial pose).

Points are float [N, 3] in metres, normals unit [N, 3]; rotations act on row vectors, x' = s x R + t.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interactvlm.errors import InputError

__all__ = ["RigidAlignment", "align_points", "opposing_correspondences"]


@dataclass(frozen=True, slots=True)
class RigidAlignment:
    """x' = scale x rotation + translation.

    Attributes:
        rotation: [3, 3], determinant +1.
        translation: [3], metres.
        scale: scalar tensor.
        rmse: root mean squared distance to the targets after alignment, metres; scalar tensor.
    """

    rotation: Tensor
    translation: Tensor
    scale: Tensor
    rmse: Tensor


def opposing_correspondences(points: Tensor, normals: Tensor, target_points: Tensor, target_normals: Tensor) -> Tensor:
    """For each point, the target that is near and faces it: int64 [N].

    Nearest in six dimensions: position, and normal against the target's reversed normal, so that opposing surfaces
    cost |x - y|^2 and aligned ones |x - y|^2 + 4 (metres squared).

    Raises:
        InputError: when there is no target or a shape is wrong.
    """
    for name, values in (("points", points), ("normals", normals), ("targets", target_points)):
        if values.ndim != 2 or values.shape[1] != 3:
            raise InputError(name, f"has shape {list(values.shape)}, [N, 3] is needed")
    if not len(target_points):
        raise InputError("targets", "is empty: there is no contact to align with")
    cost = _squared(points, target_points) + _squared(normals, -target_normals)
    return cost.argmin(dim=1)


def align_points(source: Tensor, target: Tensor, *, with_scale: bool = False) -> RigidAlignment:
    """The least-squares alignment of paired points (Umeyama, 1991).

    Args:
        source: [N, 3], N >= 3.
        target: [N, 3], row i is where row i of `source` should come to lie.
        with_scale: whether to estimate a scale too.

    Raises:
        InputError: when the shapes differ or fewer than three pairs are given.
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3 or len(source) < 3:
        shapes = f"{list(source.shape)} and {list(target.shape)}"
        raise InputError("source and target", f"have shapes {shapes}, both must be [N, 3] with N >= 3")
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    covariance = centred.T @ (target - target_mean) / len(source)
    u, strength, vh = torch.linalg.svd(covariance)
    mirror = torch.ones(3, dtype=source.dtype, device=source.device)
    mirror[2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vh))
    rotation = (u * mirror) @ vh
    scale = torch.ones((), dtype=source.dtype, device=source.device)
    if with_scale:
        scale = (strength * mirror).sum() / centred.square().sum(1).mean().clamp_min(torch.finfo(source.dtype).tiny)
    translation = target_mean - scale * source_mean @ rotation
    error = scale * source @ rotation + translation - target
    return RigidAlignment(rotation, translation, scale, error.square().sum(1).mean().sqrt())


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
