"""Periodic noise with the spectrum of natural images (amplitude 1/f), made once a process and looked up from then on.

A picture needs millions of noise values; a lookup costs a tenth of computing octaves of gradient noise.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.compiled import compiled

__all__ = ["PLANE", "VOLUME", "crop", "noise_at", "noise_plane", "noise_volume"]

#: Samples along a side of the volume and of the plane.
VOLUME = 64
PLANE = 1024


@cache
def noise_volume() -> NDArray[np.float32]:
    """Float32 [64, 64, 64], periodic, mean 0, standard deviation 1."""
    return _spectral((VOLUME,) * 3, slope=1.6, seed=1)


@cache
def noise_plane(*, slope: float = 1.0) -> NDArray[np.float32]:
    """Float32 [1024, 1024], periodic, mean 0, standard deviation 1; a steeper slope is smoother."""
    return _spectral((PLANE,) * 2, slope=slope, seed=2)


def crop(rng: np.random.Generator, size: tuple[int, int], *, slope: float = 1.0, zoom: int = 1) -> NDArray[np.float32]:
    """A random piece of the plane, float32 of this size; every `zoom`-th sample of it (coarser things look finer)."""
    rows = (int(rng.integers(PLANE)) + zoom * np.arange(size[0])) % PLANE
    columns = (int(rng.integers(PLANE)) + zoom * np.arange(size[1])) % PLANE
    return np.asarray(noise_plane(slope=slope)[rows[:, None], columns[None]])


@compiled
def noise_at(volume: NDArray[np.float32], x: float, y: float, z: float) -> float:
    """The volume at a point in samples, trilinear and periodic."""
    side = volume.shape[0]
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    u, v, w = x - i, y - j, z - k
    i, j, k = i % side, j % side, k % side
    p, q, r = (i + 1) % side, (j + 1) % side, (k + 1) % side
    low = (volume[i, j, k] * (1 - u) + volume[p, j, k] * u) * (1 - v) + (
        volume[i, q, k] * (1 - u) + volume[p, q, k] * u
    ) * v
    high = (volume[i, j, r] * (1 - u) + volume[p, j, r] * u) * (1 - v) + (
        volume[i, q, r] * (1 - u) + volume[p, q, r] * u
    ) * v
    return float(low * (1 - w) + high * w)


def _spectral(shape: tuple[int, ...], *, slope: float, seed: int) -> NDArray[np.float32]:
    frequencies = np.meshgrid(*(np.fft.fftfreq(side, 1 / side) for side in shape), indexing="ij")
    radius = np.sqrt(sum(each**2 for each in frequencies))
    radius.flat[0] = np.inf  # no constant part
    spectrum = np.fft.fftn(np.random.default_rng(seed).standard_normal(shape)) / radius**slope
    values = np.fft.ifftn(spectrum).real
    scaled: NDArray[np.float32] = (values / values.std()).astype(np.float32)
    scaled.setflags(write=False)
    return scaled
