"""nano's frozen image encoder by itself: patch features of square pictures, for stages without a language model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interactvlm.vlm.nano.packages import IMAGE_ENCODER
from interactvlm.vlm.nano.vision import PREPROCESSOR_CONFIG, VISION_CONFIG, read_vision_tower, write_vision_tower
from interactvlm.vlm.vision import VisionTower

__all__ = ["NanoPatches", "load_nano_patches"]

_BATCH = 8


class NanoPatches:
    """The encoder, loaded; safe to use from several threads.

    Args:
        model: HF `Dinov2Model`.
    """

    #: Which encoder it is: features of another are not to be compared with these.
    key = IMAGE_ENCODER.sha256
    #: Pixels of a patch's side.
    patch_size: int = VISION_CONFIG["patch_size"]
    #: Length of a feature.
    channels: int = VISION_CONFIG["hidden_size"]

    def __init__(self, model: Any) -> None:
        self._model = model

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of the last layer.

        Args:
            images: RGB uint8 [N, S, S, 3], S a multiple of `patch_size`.

        Returns:
            float32 [N, S / patch_size, S / patch_size, channels].
        """
        mean, std = (np.array(PREPROCESSOR_CONFIG[name], np.float32) for name in ("image_mean", "image_std"))
        grid = images.shape[1] // self.patch_size
        device = self._model.device
        found = [np.zeros((0, grid, grid, self.channels), np.float32)]
        for start in range(0, len(images), _BATCH):
            pixels = ((images[start : start + _BATCH] / np.float32(255)) - mean) / std
            batch = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).to(device)
            features = self._model(pixel_values=batch).last_hidden_state[:, 1:]
            found.append(features.float().cpu().numpy().reshape(len(batch), grid, grid, self.channels))
        return np.concatenate(found)


def load_nano_patches(device: torch.device | str = "cpu") -> NanoPatches:
    """Read the encoder from its package.

    Args:
        device: where to put it.

    Raises:
        MissingDependencyError: the package, or a library that reads it, is not installed.
        CheckpointError: its file is damaged.
    """
    tower = read_vision_tower(IMAGE_ENCODER.verified())
    # Through a folder: transformers renames published tensors only on that way.
    with tempfile.TemporaryDirectory(prefix="interactvlm-") as scratch:
        folder = Path(scratch) / "tower"
        write_vision_tower(tower, folder)
        loaded = VisionTower.from_folder(folder, select_layer=-1, pool=1, device=device, dtype=torch.float32)
    return NanoPatches(loaded.model)
