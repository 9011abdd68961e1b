"""Ground truth in the views: from contact on a surface to mask targets (release)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.mvloc.surfaces import SurfaceViews
from interactvlm.training.losses import IGNORE

__all__ = ["CORNERS_IN_CONTACT", "MaskTargets", "mask_target"]

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


class MaskTargets:
    """Mask targets of one surface at any resolution, from what stands behind the pixels inside its outline.

    A coarse pixel holds the share of its fine pixels (inside the outline) that are in contact, or their mean heat:
    a coarse target costs a fraction of a fine one and says the same.

    Args:
        views: the surface in its views.
        side: side of the targets, at most the views'.

    Raises:
        InputError: `side` is larger.
    """

    def __init__(self, views: SurfaceViews, side: int) -> None:
        count, fine = views.valid.shape[:2]
        if not 0 < side <= fine:
            raise InputError("side", f"is {side}, must be 1 to the renders' {fine} pixels")
        self.shape = (count, side, side)
        self.count = views.count
        view, row, column = np.nonzero(views.valid)
        self._cells = (view * side + row * side // fine) * side + column * side // fine
        self._ids = views.ids[view, row, column].astype(np.int32)
        self._weights = views.weights[view, row, column].astype(np.float32)
        self._weights[self._ids < 0] = 0  # inside the outline, but on no vertex: no contact
        self._per_cell = np.bincount(self._cells, minlength=count * side * side)

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return int(self._cells.nbytes + self._ids.nbytes + self._weights.nbytes + self._per_cell.nbytes)

    def __call__(self, values: NDArray[np.floating], *, corners: int = CORNERS_IN_CONTACT) -> Tensor:
        """The target of contact or heat, float32 [J, side, side], IGNORE outside the outline.

        Where all values are 0 or 1, pixels count by `corners` (see `mask_target`); heat is interpolated.

        Raises:
            InputError: `values` is not of this surface.
        """
        if values.shape != (self.count,):
            raise InputError("contact", f"has shape {list(values.shape)} for a surface of {self.count} vertices")
        corner = values[self._ids]
        if self._ids.shape[-1] == 3 and np.isin(values, (0, 1)).all():
            pixels = ((corner * (self._ids >= 0)).sum(-1) >= corners).astype(np.float32)
        else:
            total = self._weights.sum(-1)
            pixels = (corner * self._weights).sum(-1) / np.where(total > 0, total, 1)
        sums = np.bincount(self._cells, pixels, minlength=len(self._per_cell))
        target = np.where(self._per_cell > 0, sums / np.maximum(self._per_cell, 1), IGNORE)
        return torch.from_numpy(target.astype(np.float32).reshape(self.shape))
