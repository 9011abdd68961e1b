"""Where training starts: an image projector whose tokens look like words to the language model."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["projector_in_range"]

#: Directions with less than this share of the largest variance are not blown up.
_FLOOR = 0.01
#: How far image tokens begin to lie from the mean of all words, against words: what says nothing yet must not drown
#: what is learned.
_SPREAD = 0.25


def projector_in_range(features: Tensor, table: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a projector that is neutral to start from.

    Features are whitened, reduced to their strongest directions where there are more than the language model is wide,
    and turned at random around the mean of the token embeddings, by a share of their spread.

    Args:
        features: float32 [P, D], image tokens of a few photos.
        table: float32 [W, h], token embeddings.
        seed: of the rotation.

    Returns:
        weight [h, D] and bias [h].
    """
    width = table.shape[1]
    mean = features.mean(0)
    spread, axes = torch.linalg.eigh(torch.cov(features.T))  # ascending
    kept = min(width, len(spread))
    spread, axes = spread[-kept:], axes[:, -kept:]
    whiten = axes / (spread + _FLOOR * spread.max()).sqrt()
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(width, kept, generator=generator))[0]
    # Whitened directions have variance 1 (or less): the embeddings' own is shared among them.
    weight = _SPREAD * table.std() * (width / kept) ** 0.5 * rotation @ whiten.T
    return weight, table.mean(0) - weight @ mean
