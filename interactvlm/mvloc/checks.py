"""What is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CheckpointError, InputError

__all__ = ["check_embeddings", "check_has_views"]


def check_has_views(config: ReleaseConfig, folder: Path) -> None:
    """Raise CheckpointError for the one-view model, which is another class's."""
    if config.multiview_channels == 1:
        raise CheckpointError(
            folder,
            "holds the 2D human mask model (multiview_channels 1), which answers with a mask on the photo and not "
            "on a body: use `interactvlm predict`, or interactvlm.photo_mask.PhotoMaskModel",
        )


def check_embeddings(embeddings: NDArray[np.float32], tokens: Sequence[str], *, channels: int) -> Tensor:
    """Embeddings as a float32 tensor [Q, C].

    Raises:
        InputError: another shape or type, values that are not finite, or another number of tokens.
    """
    array = np.asarray(embeddings)
    if array.ndim != 2 or array.shape[1] != channels or array.dtype.kind != "f":
        raise InputError("embeddings", f"are {array.dtype} {list(array.shape)}, must be floats [questions, {channels}]")
    if len(array) != len(tokens):
        raise InputError("tokens", f"are {len(tokens)} for {len(array)} embeddings")
    if not np.isfinite(array).all():
        raise InputError("embeddings", "hold values that are not finite")
    return torch.from_numpy(np.array(array, dtype=np.float32))
