"""Terms of the joint reconstruction's energy E (paper section 5); torch, differentiable, scalar results."""

from __future__ import annotations

import torch
from torch import Tensor

from interactvlm.errors import InputError

__all__ = ["contact_distance", "mask_centroid", "normalized_depth"]


def contact_distance(
    object_points: Tensor, object_weights: Tensor, body_points: Tensor, body_weights: Tensor
) -> Tensor:
    """E_C: mean distance between object and body points over all pairs, weighted by both contact probabilities.

    Points without weight are left out before the distances are taken.

    Args:
        object_points: [N, 3], metres.
        object_weights: [N], contact probability.
        body_points: [V, 3], metres.
        body_weights: [V], contact probability.

    Raises:
        InputError: when one side has no contact.
    """
    on_object, on_body = object_weights > 0, body_weights > 0
    for name, used in (("object_weights", on_object), ("body_weights", on_body)):
        if not used.any():
            raise InputError(name, "has no contact above 0")
    weights = object_weights[on_object][:, None] * body_weights[on_body]
    distances = torch.cdist(object_points[on_object], body_points[on_body], compute_mode="donot_use_mm_for_euclid_dist")
    return (weights * distances).sum() / weights.sum()


def mask_centroid(mask: Tensor) -> Tensor:
    """Mean position of a mask [H, W] with values in [0, 1], as (row, column) of pixel indices, [2].

    An empty mask has its centroid at (0, 0), without gradient.
    """
    rows = torch.arange(mask.shape[0], dtype=mask.dtype, device=mask.device)
    columns = torch.arange(mask.shape[1], dtype=mask.dtype, device=mask.device)
    mass = mask.sum()
    centroid = torch.stack([mask.sum(1) @ rows, mask.sum(0) @ columns])
    return centroid / torch.where(mass > 0, mass, torch.ones_like(mass))


def normalized_depth(depth: Tensor, *, background: float) -> Tensor:
    """Depth [H, W] scaled to [0, 1] over the pixels that see the surface; `background` elsewhere."""
    seen = depth != background
    if not seen.any():
        return depth
    near, far = depth[seen].amin(), depth[seen].amax()
    scaled = (depth - near) / (far - near).clamp_min(torch.finfo(depth.dtype).eps)
    return torch.where(seen, scaled, depth)
