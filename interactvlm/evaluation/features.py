"""The frozen vision features that a baseline of ours looks at: the very ones the evaluated model sees."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import PhotoError
from interactvlm.evaluation.inquiry import Inquiry

if TYPE_CHECKING:
    from torch import Tensor

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
    cache_dir: Path,
    photos_per_batch: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Read photos through a vision tower, cropped to the person as the pipeline does; on disk afterwards.

    Args:
        tower: frozen.
        inquiries: whose photos are read; one that cannot be read is left out.
        cache_dir: where features are kept, by tower and photo.
        photos_per_batch: photos in one forward pass.
        progress: called with (photos done, photos in all).
    """
    from interactvlm.training.feature_cache import FeatureCache, feature_key

    shape = (FEATURE_SIDE**2, tower.width)
    cache = FeatureCache(cache_dir / f"cells-{_identity(tower)}", shape)
    found: Features = {}
    for start in range(0, len(inquiries), photos_per_batch):
        group = inquiries[start : start + photos_per_batch]
        seen = [(inquiry, photo) for inquiry in group if (photo := _seen(inquiry)) is not None]
        keys = [feature_key(inquiry.photo, repr(inquiry.person)) for inquiry, _ in seen]
        photos = [photo for _, photo in seen]
        values = cache.get(keys, lambda missing, photos=photos: _cells(tower, [photos[i] for i in missing]))  # type: ignore[misc]
        found.update((inquiry.sample_id, value.numpy()) for (inquiry, _), value in zip(seen, values, strict=True))
        if progress is not None:
            progress(start + len(group), len(inquiries))
    return found


def _cells(tower: VisionTower, photos: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Float [P, 64, C]: the tower's tokens, averaged to a small grid."""
    import torch

    with torch.inference_mode():
        tokens = tower(torch.from_numpy(tower.preprocessor(photos))).float().transpose(1, 2)
        side = math.isqrt(tokens.shape[2])
        cells = torch.nn.functional.adaptive_avg_pool2d(tokens.unflatten(2, (side, side)), FEATURE_SIDE)
        return cells.flatten(2).transpose(1, 2)


def _identity(tower: VisionTower) -> str:
    """What decides features: weights and how photos reach them."""
    digest = hashlib.sha256(f"{tower.image_tokens} {tower.width} {tower.preprocessor}".encode())
    for name, value in sorted(tower.model.state_dict().items()):
        digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


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
