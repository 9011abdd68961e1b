"""From linear light to the file a camera writes: focus, motion, exposure, colour, noise, compression."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter1d

__all__ = ["develop", "encode"]

_LUMA = np.array((0.3, 0.59, 0.11), dtype=np.float32)


def develop(
    rng: np.random.Generator,
    light: NDArray[np.float32],
    depth: NDArray[np.float32],
    labels: NDArray[np.int16],
) -> NDArray[np.uint8]:
    """Expose and degrade a picture as cameras do.

    Args:
        rng: the scene's stream of the lens.
        light: float32 [H, W, 3], linear.
        depth: float32 [H, W], metres.
        labels: int16 [H, W], 0 is the main person, on whom the exposure is metered and the focus lies.

    Returns:
        uint8 [H, W, 3].
    """
    image: NDArray[Any] = light
    person = labels == 0
    focus = float(np.median(depth[person])) if person.any() else 3.0
    if rng.random() < 0.55:
        image = _defocus(image, depth, focus, float(rng.uniform(0.6, 4.0)))
    level = _brightness(image)
    if person.any():
        share = rng.uniform(0.0, 0.7)
        level = level ** (1 - share) * _brightness(image[person]) ** share
    image = image * np.float32(np.clip(rng.normal(0.25, 0.07), 0.08, 0.5) / max(level, 0.01))
    image *= np.clip(rng.normal(1, 0.06, 3), 0.75, 1.3).astype(np.float32)  # white balance
    bright = image > 0.7
    image[bright] = 1 - 0.3 * np.exp((0.7 - image[bright]) / 0.3)  # highlights roll off
    image = np.maximum(image, 0) ** np.float32(1 / rng.uniform(2.0, 2.5))
    contrast = np.float32(np.clip(rng.normal(1.0, 0.1), 0.75, 1.3))
    image = (image - np.float32(0.45)) * contrast + np.float32(0.45 + rng.normal(0, 0.02))
    grey = (image @ _LUMA)[..., None]
    saturation = 0.0 if rng.random() < 0.04 else float(np.clip(rng.normal(0.92, 0.17), 0.3, 1.3))
    image = grey + (image - grey) * np.float32(saturation)
    if rng.random() < 0.4:
        image = image * _vignette(image.shape[:2], float(rng.uniform(0.05, 0.4)))
    if rng.random() < 0.12:
        image = uniform_filter1d(image, int(rng.integers(3, 8)), axis=int(rng.integers(2)))
    noise = rng.exponential(0.012)
    rough = rng.standard_normal(image.shape[:2], dtype=np.float32)[..., None]
    image = image + np.float32(noise) * (rough + 0.5 * rng.standard_normal(image.shape, dtype=np.float32))
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _resample(rng, pixels)


def encode(rng: np.random.Generator, image: NDArray[np.uint8]) -> bytes:
    """JPEG bytes without metadata, at a quality between 45 and 95."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(rng.integers(45, 96)))
    return buffer.getvalue()


def _defocus(image: NDArray[Any], depth: NDArray[np.float32], focus: float, strength: float) -> NDArray[np.float32]:
    """Blur what is far from the focus; two layers, blended by the circle of confusion."""
    blurred = image
    for axis in (0, 1):
        for _ in range(2):
            blurred = uniform_filter1d(blurred, int(2 * round(strength) + 1), axis=axis)
    share = np.clip((np.abs(1 / np.maximum(depth, 0.1) - 1 / focus) * focus - 0.25) * 2.5, 0, 1)
    share = uniform_filter1d(uniform_filter1d(share, 3, axis=0), 3, axis=1)[..., None].astype(np.float32)
    return np.asarray(image * (1 - share) + blurred * share)


def _brightness(image: NDArray[Any]) -> float:
    """Geometric mean."""
    return float(np.exp(np.log(image @ _LUMA + 1e-3).mean()))


def _vignette(size: tuple[int, int], strength: float) -> NDArray[np.float32]:
    rows, columns = (np.linspace(-1, 1, side, dtype=np.float32) ** 2 for side in size)
    return np.asarray(1 - np.float32(strength) * (rows[:, None] + columns[None])[..., None] / 2)


def _resample(rng: np.random.Generator, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At times the picture was small once."""
    if rng.random() > 0.2:
        return pixels
    height, width = pixels.shape[:2]
    share = rng.uniform(0.45, 0.9)
    small = Image.fromarray(pixels).resize((int(width * share), int(height * share)), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
