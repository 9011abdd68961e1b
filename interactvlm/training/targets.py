"""Ground truth in the views: from contact on a surface to mask targets (release)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.mvloc.surfaces import SurfaceViews
from interactvlm.training.losses import IGNORE

__all__ = ["CORNERS_IN_CONTACT", "mask_target"]

CORNERS_IN_CONTACT = 2
"""Vertices of a pixel's triangle that must be in contact for the pixel to count; older checkpoints asked for 3."""


def mask_target(views: SurfaceViews, contact: NDArray[np.bool_], *, corners: int = CORNERS_IN_CONTACT) -> Tensor:
    """The mask target of one contact map, float32 [J, S, S]: 1, 0, or IGNORE outside the rendered outline.

    Args:
        views: the mesh in its views.
        contact: bool [V].
        corners: vertices of a pixel's triangle that must be in contact.

    Raises:
        InputError: when `contact` is not of this surface, or it is a point cloud.
    """
    if contact.shape != (views.count,):
        raise InputError("contact", f"has shape {list(contact.shape)} for a surface of {views.count} vertices")
    if views.ids.shape[-1] != 3:
        raise InputError("views", "are of a point cloud, which has no triangles")
    covered = views.ids[..., 0] >= 0
    touched = contact[np.where(covered[..., None], views.ids, 0)].sum(-1) >= corners
    target = np.where(views.valid, np.float32(0), np.float32(IGNORE))
    target[views.valid & covered & touched] = 1
    return torch.from_numpy(target)
