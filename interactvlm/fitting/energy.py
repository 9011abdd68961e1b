"""The energy E of poses: the weighted sum of the terms in `energies/` (paper section 5)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from interactvlm.fitting.batch import SceneBatch
from interactvlm.fitting.energies.centroid import centroid_energy
from interactvlm.fitting.energies.contact import contact_energy
from interactvlm.fitting.energies.mask_iou import mask_iou_energy
from interactvlm.fitting.energies.penetration import penetration_energy
from interactvlm.fitting.energies.size import size_energy
from interactvlm.fitting.poses import Poses
from interactvlm.fitting.silhouette import NEAR, render_silhouettes

__all__ = ["IMAGE_TERMS", "TERMS", "energy_terms", "total_energy"]

TERMS = ("mask", "centroid", "contact", "penetration", "size")
"""Names of the terms."""

IMAGE_TERMS = frozenset({"mask", "centroid"})
"""Those that need a rendered silhouette."""


def energy_terms(batch: SceneBatch, poses: Poses, names: frozenset[str] = frozenset(TERMS)) -> dict[str, Tensor]:
    """Terms by name, unweighted, each [S, K]; differentiable in the poses.

    Args:
        batch: S scenes.
        poses: [S, K], of the centred objects.
        names: which terms are wanted.
    """
    found: dict[str, Tensor] = {}
    if names & IMAGE_TERMS:
        images = render_silhouettes(batch.meshes, poses, batch.focal, batch.principal, batch.target.shape[-1])
        if "mask" in names:
            found["mask"] = mask_iou_energy(images, batch.target, batch.known)
        if "centroid" in names:
            middle = poses.translation[..., :2] / poses.translation[..., 2:].clamp_min(NEAR)
            projected = middle * batch.focal[:, None] + batch.principal[:, None]
            found["centroid"] = centroid_energy(images, batch.target, batch.known, projected)
    if "contact" in names:
        found["contact"] = contact_energy(poses, batch.object_contacts, batch.body_contacts)
    if "penetration" in names:
        found["penetration"] = penetration_energy(poses, batch.surface, batch.body_distance)
    if "size" in names:
        found["size"] = size_energy(poses.scale, batch.extent, batch.log_size)
    return found


def total_energy(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Their weighted sum [S, K]; infinite where a term is not a number."""
    total = torch.stack([weights[name] * terms[name] for name in weights]).sum(0)
    return torch.where(total.isfinite(), total, torch.inf)
