"""E_M, first part: how badly the rendered silhouette overlaps the object's mask.

    E = 1 - sum_p k_p min(a_p, m_p) / sum_p k_p max(a_p, m_p)

over the pixels p of the crop, with the silhouette a, the mask m and the share k of a pixel that is known. For images of
zeros and ones that is 1 - |A and M| / |A or M|; unlike a product, the minimum is right for half-covered pixels too: an
exact match scores 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mask_iou_energy"]


def mask_iou_energy(silhouettes: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """One minus intersection over union, [S, K] in [0, 1]; 1 where neither covers anything that is known.

    Args:
        silhouettes: [S, K, R, R] in [0, 1].
        target: [S, R, R] in [0, 1].
        known: [S, R, R] in [0, 1].
    """
    mask, weight = target[:, None], known[:, None]
    shared = (weight * torch.minimum(silhouettes, mask)).sum((-2, -1))
    united = (weight * torch.maximum(silhouettes, mask)).sum((-2, -1))
    return 1 - shared / united.clamp_min(1e-6)
