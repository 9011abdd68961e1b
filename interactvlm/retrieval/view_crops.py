"""The square of a photo that holds one object, as the renders of the catalogue hold theirs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.errors import InputError
from interactvlm.retrieval.retriever import ImageQuery
from interactvlm.retrieval.view_renders import BACKGROUND, CROP_MARGIN
from interactvlm.types import Box

__all__ = ["object_crop", "query_box"]

_MAX_SIDE = 16384
_TURNED_SIDE = 448  # of the square that is turned


def query_box(query: ImageQuery) -> Box:
    """The box of a query, its mask's, or the whole picture; cut to the picture.

    Raises:
        InputError: photo or mask have another shape or dtype, the mask is empty, or the box lies outside.
    """
    photo, mask = query.photo, query.mask
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise InputError("photo", f"is {photo.dtype} of shape {list(photo.shape)}; uint8 [H, W, 3] is needed")
    height, width = photo.shape[:2]
    if not 1 <= min(height, width) <= max(height, width) <= _MAX_SIDE:
        raise InputError("photo", f"has {width} x {height} pixels; sides are 1 to {_MAX_SIDE}")
    if mask is not None and (mask.dtype != np.bool_ or mask.shape != (height, width)):
        raise InputError("mask", f"is {mask.dtype} of shape {list(mask.shape)}; bool [{height}, {width}] is needed")
    if query.box is not None:
        values = (query.box.left, query.box.top, query.box.right, query.box.bottom)
        left, top, right, bottom = (
            max(values[0], 0.0),
            max(values[1], 0.0),
            min(values[2], width),
            min(values[3], height),
        )
        if not (all(map(math.isfinite, values)) and left < right and top < bottom):
            raise InputError("box", f"{values} holds nothing of the photo of {width} x {height} pixels")
        return Box(float(left), float(top), float(right), float(bottom))
    if mask is None:
        return Box(0.0, 0.0, float(width), float(height))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError("mask", "has no pixel")
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def object_crop(query: ImageQuery, side: int, *, roll: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The square around the object; what lies outside the photo, or the mask where there is one, is neutral.

    Args:
        query: the object.
        side: pixels of the crop.
        roll: degrees by which the object is turned clockwise in the photo; the crop shows it turned back.

    Returns:
        RGB uint8 [side, side, 3], and the share of each pixel that may show the object, float32 [side, side]: the
        mask's, else the box's.

    Raises:
        InputError: as `query_box`.
    """
    box = query_box(query)
    if not roll:
        return _framed(query.photo, _inside(query, box), box, side, masked=query.mask is not None)
    # First a square that holds the box at any angle, small enough to be turned quickly.
    half = math.hypot(box.right - box.left, box.bottom - box.top) / 2 + 1
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    around = Box(x - half, y - half, x + half, y + half)
    image, share = _framed(
        query.photo, _inside(query, box), around, _TURNED_SIDE, masked=query.mask is not None, margin=0.0
    )
    seen = Image.fromarray(image).rotate(roll, Image.Resampling.BICUBIC, fillcolor=BACKGROUND)
    inside = Image.fromarray(np.round(share * 255).astype(np.uint8)).rotate(roll, Image.Resampling.BILINEAR)
    mask = np.asarray(inside)
    level = min(128, int(mask.max()))
    rows, columns = np.flatnonzero((mask >= level).any(axis=1)), np.flatnonzero((mask >= level).any(axis=0))
    tight = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return _framed(np.asarray(seen), mask, tight, side, masked=False)


def _inside(query: ImageQuery, box: Box) -> NDArray[np.uint8]:
    """uint8 [H, W], 255 where the object may be."""
    if query.mask is not None:
        return query.mask.view(np.uint8) * np.uint8(255)
    height, width = query.photo.shape[:2]
    inside = np.zeros((height, width), np.uint8)
    # A box of less than a pixel still holds one.
    left, top = min(round(box.left), width - 1), min(round(box.top), height - 1)
    inside[top : max(round(box.bottom), top + 1), left : max(round(box.right), left + 1)] = 255
    return inside


def _framed(
    photo: NDArray[np.uint8],
    inside: NDArray[np.uint8],
    box: Box,
    side: int,
    *,
    masked: bool,
    margin: float = CROP_MARGIN,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The square with the box in its middle, of the photo and of `inside`; neutral where there is neither."""
    frame = max(box.right - box.left, box.bottom - box.top) / (1 - 2 * margin)
    left, top = (box.left + box.right - frame) / 2, (box.top + box.bottom - frame) / 2
    height, width = photo.shape[:2]
    # Only what the square touches is copied: a photo may be huge and the object small.
    start_x, start_y = math.floor(left), math.floor(top)
    x0, y0 = max(start_x, 0), max(start_y, 0)
    x1, y1 = min(math.ceil(left + frame), width), min(math.ceil(top + frame), height)
    size = max(math.ceil(left + frame) - start_x, math.ceil(top + frame) - start_y, 1)
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = BACKGROUND
    cover = np.zeros((size, size), np.uint8)
    rows, columns = slice(y0 - start_y, y1 - start_y), slice(x0 - start_x, x1 - start_x)
    canvas[rows, columns] = photo[y0:y1, x0:x1]
    cover[rows, columns] = inside[y0:y1, x0:x1]
    if masked:
        canvas[cover == 0] = BACKGROUND
    area = (left - start_x, top - start_y, min(left - start_x + frame, size), min(top - start_y + frame, size))
    image = Image.fromarray(canvas).resize((side, side), Image.Resampling.BICUBIC, box=area, reducing_gap=3.0)
    share = Image.fromarray(cover).resize((side, side), Image.Resampling.BOX, box=area)
    return np.asarray(image), np.asarray(share, np.float32) / np.float32(255)
