"""Independent random streams of one scene: a change in one part of a picture never shifts the draws of another."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator that one purpose ("camera", "lens") draws from in the scene of this seed."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
