"""The square of a photo around an object's mask, at the resolution that fits are made at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.fitting.camera import PhotoCamera

__all__ = ["MaskCrop", "crop_mask"]

_MARGIN = 2.0
"""Side of the crop over the longer side of the mask's box."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskCrop:
    """What a rendered silhouette is compared with.

    Attributes:
        target: float32 [R, R], share of each pixel's known area that the object covers, in [0, 1].
        known: float32 [R, R], share of each pixel of which the photo tells whether the object is there, in [0, 1]:
            not where somebody stands before it, nor outside the photo.
        camera: the photo's camera in pixels of the crop.
    """

    target: NDArray[np.float32]
    known: NDArray[np.float32]
    camera: PhotoCamera


def crop_mask(
    mask: NDArray[np.bool_], camera: PhotoCamera, side: int, *, hidden: NDArray[np.bool_] | None = None
) -> MaskCrop:
    """Cut the square around a mask, twice as large as the mask's box, and average it into `side` x `side` pixels.

    Args:
        mask: bool [H, W], the object.
        camera: of the photo.
        side: R, pixels.
        hidden: bool [H, W], where something else may stand before the object; the mask itself wins.

    Raises:
        InputError: when the mask marks no pixel, `side` is below 2, or the shapes differ.
    """
    if side < 2:
        raise InputError("side", f"is {side} pixels, at least 2 are needed")
    if mask.ndim != 2 or (hidden is not None and hidden.shape != mask.shape):
        raise InputError("hidden", "must be of the mask's shape, [H, W]")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError("mask", "marks no pixel of the object")
    low = np.array([columns[0], rows[0]], dtype=np.float64)
    high = np.array([columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
    step = _MARGIN * float((high - low).max()) / side
    corner = (low + high) / 2 - step * side / 2
    known = np.ones(mask.shape) if hidden is None else (~hidden | mask).astype(np.float64)
    edges = corner[:, None] + step * np.arange(side + 1)
    object_area, known_area = (_areas(values, edges[0], edges[1]) for values in (mask.astype(np.float64), known))
    target = np.divide(object_area, known_area, out=np.zeros_like(object_area), where=known_area > 1e-9)
    (fx, fy), (cx, cy) = camera.focal, camera.principal
    return MaskCrop(
        target=target.clip(0, 1).astype(np.float32),
        known=(known_area / step**2).clip(0, 1).astype(np.float32),
        camera=PhotoCamera((fx / step, fy / step), ((cx - corner[0]) / step, (cy - corner[1]) / step)),
    )


def _areas(values: NDArray[np.float64], xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrals of an image [H, W], 0 beyond its borders, over the cells between `xs` and between `ys`."""
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    for axis, at in ((0, ys), (1, xs)):
        # Running sums of an image that is constant in each pixel are linear between pixel borders.
        limit = sums.shape[axis] - 1
        at = at.clip(0, limit)
        lower = np.minimum(np.floor(at).astype(np.int64), max(limit - 1, 0))
        share = np.expand_dims(at - lower, 1 - axis)
        sums = sums.take(lower, axis=axis) * (1 - share) + sums.take(lower + 1, axis=axis) * share
    return np.diff(np.diff(sums, axis=0), axis=1)
