"""A photo as the vision tower wants it: resized, cropped to the middle, normalised.

The published numbers come from CLIPImageProcessor in its old form (integer size, Pillow's bicubic); Pillow does the
same here, without torchvision and whatever the installed transformers makes of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.errors import CheckpointError, PhotoError

__all__ = ["PhotoPreprocessor", "PreparedPhoto"]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPhoto:
    """A photo after `PhotoPreprocessor.prepare`: small whatever the photo measured, so that it can wait in a queue.

    Attributes:
        pixels: RGB uint8 [S, S, 3]; all that the model will see.
    """

    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PhotoPreprocessor:
    """The part of preprocessor_config.json that is used: shortest side, centre crop, mean and deviation.

    Attributes:
        shortest_edge: pixels of the shorter side after resizing.
        crop_size: side of the square cut from the middle; at most `shortest_edge`.
        mean: per channel, of values in [0, 1].
        std: per channel.
    """

    shortest_edge: int
    crop_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_folder(cls, folder: Path) -> PhotoPreprocessor:
        """Read `folder/preprocessor_config.json`; sizes may be integers (old form) or objects.

        Raises:
            CheckpointError: the file is missing or describes another recipe.
        """
        path = folder / "preprocessor_config.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(folder, "has no preprocessor_config.json") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(path, f"is not valid JSON: {error}") from None
        try:
            made = cls(
                shortest_edge=_side(raw["size"]),
                crop_size=_side(raw.get("crop_size", raw["size"])),
                mean=_triple(raw["image_mean"]),
                std=_triple(raw["image_std"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(path, f"lacks a usable size, crop_size, image_mean or image_std ({error})") from None
        if not 0 < made.crop_size <= made.shortest_edge <= 4096 or min(made.std) <= 0:
            raise CheckpointError(path, "needs 0 < crop_size <= size <= 4096 and positive image_std")
        if raw.get("resample", 3) != 3:
            raise CheckpointError(path, f"key resample is {raw['resample']!r}; known: 3 (bicubic)")
        return made

    def __call__(self, photos: Sequence[NDArray[np.uint8] | PreparedPhoto]) -> NDArray[np.float32]:
        """Prepare photos of any sizes.

        Args:
            photos: RGB uint8 [H, W, 3] each, or what `prepare` made of it.

        Returns:
            Float32 [P, 3, S, S] with S = `crop_size`.

        Raises:
            PhotoError: an array has another shape or dtype, or no pixels.
        """
        prepared = [photo if isinstance(photo, PreparedPhoto) else self.prepare(photo) for photo in photos]
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        normalised = [((one.pixels * (1 / 255)).astype(np.float32) - mean) / std for one in prepared]
        return np.ascontiguousarray(np.stack(normalised).transpose(0, 3, 1, 2))

    def prepare(self, photo: NDArray[np.uint8]) -> PreparedPhoto:
        """Resize and crop a photo; safe on any thread.

        Args:
            photo: RGB uint8 [H, W, 3].

        Raises:
            PhotoError: another shape or dtype, no pixels, or one side more than 64 times the other.
        """
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise PhotoError("photo", f"must be RGB uint8 [H, W, 3], not {photo.dtype} {list(photo.shape)}")
        height, width = photo.shape[:2]
        short, long = min(height, width), max(height, width)
        # Truncated, not rounded: as the processor that the published models were trained with.
        longest = int(self.shortest_edge * long / short)
        # Extreme strips would be blown up by the ratio of their sides; only the middle is kept anyway.
        if longest > 64 * self.shortest_edge:
            raise PhotoError("photo", f"is {width} x {height} pixels; one side may be at most 64 times the other")
        size = (self.shortest_edge, longest) if width <= height else (longest, self.shortest_edge)
        resized = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
        top, left = (resized.shape[0] - self.crop_size) // 2, (resized.shape[1] - self.crop_size) // 2
        return PreparedPhoto(np.ascontiguousarray(resized[top : top + self.crop_size, left : left + self.crop_size]))


def _side(value: Any) -> int:
    """A side from 224, {"shortest_edge": 224} or {"height": 224, "width": 224}."""
    if isinstance(value, dict):
        sides = set(value.values()) if "shortest_edge" not in value else {value["shortest_edge"]}
        if len(sides) != 1:
            raise ValueError(f"not a square: {value}")
        value = sides.pop()
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"not an integer: {value!r}")
    return value


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
