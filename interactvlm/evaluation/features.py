"""The frozen vision features that a baseline of ours looks at: the very ones the evaluated model sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import PhotoError
from interactvlm.evaluation.inquiry import Inquiry

if TYPE_CHECKING:
    from interactvlm.vlm.vision import VisionTower

__all__ = ["FEATURE_SIDE", "Features", "photo_features"]

FEATURE_SIDE = 8
"""Features are averaged to this many cells a side, so that thousands of photos fit into memory."""

Features = dict[str, NDArray[np.float16]]
"""float16 [64, C] by sample id."""


def photo_features(
    tower: VisionTower,
    inquiries: Sequence[Inquiry],
    *,
    photos_per_batch: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Read photos through a vision tower, cropped to the person as the pipeline does.

    Args:
        tower: frozen.
        inquiries: whose photos are read; one that cannot be read is left out.
        photos_per_batch: photos in one forward pass.
        progress: called with (photos done, photos in all).
    """
    import torch

    found: Features = {}
    for start in range(0, len(inquiries), photos_per_batch):
        seen = [(inquiry.sample_id, _seen(inquiry)) for inquiry in inquiries[start : start + photos_per_batch]]
        readable = [(name, photo) for name, photo in seen if photo is not None]
        if readable:
            with torch.inference_mode():
                pixels = torch.from_numpy(tower.preprocessor([photo for _, photo in readable]))
                tokens = tower(pixels).float().transpose(1, 2)
                side = math.isqrt(tokens.shape[2])
                cells = torch.nn.functional.adaptive_avg_pool2d(tokens.unflatten(2, (side, side)), FEATURE_SIDE)
                values = cells.flatten(2).transpose(1, 2).cpu().numpy().astype(np.float16)
            found.update(zip((name for name, _ in readable), values, strict=True))
        if progress is not None:
            progress(min(start + photos_per_batch, len(inquiries)), len(inquiries))
    return found


def _seen(inquiry: Inquiry) -> NDArray[np.uint8] | None:
    from interactvlm.detection.selection import select_person

    try:
        photo = inquiry.pixels()
    except PhotoError:
        return None
    crop = select_person(photo, inquiry.selector(), None).crop
    if crop is None:
        return photo
    left, top, right, bottom = (round(edge) for edge in (crop.left, crop.top, crop.right, crop.bottom))
    return photo[top:bottom, left:right]
