"""Numbers for parts that are not trained yet: drawn from a seed and the tensor's own name, alike on every machine.

Uniform values made from raw generator bits by exact arithmetic: neither the order of the tensors, nor numpy's version,
nor the platform's mathematics library changes a bit of them.
"""

from __future__ import annotations

import hashlib
import math
import re

import numpy as np
from numpy.typing import NDArray

__all__ = ["initial_tensor"]

# Tokens and embeddings stand for inputs of unit size; so do the frequencies of SAM's random positional encoding.
_UNIT = re.compile(r"(_tokens?|_embed|point_embeddings\.\d+)\.weight$|positional_encoding_gaussian_matrix$")
_POSITIONS = re.compile(r"(pos_embed|rel_pos_[hw])$")


def initial_tensor(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Float32 values of one tensor: zero biases, unit norms, variance 1/inputs for linear layers and convolutions.

    Args:
        name: its name in the official layout.
        shape: its shape.
        seed: the manifest's.
    """
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    if _UNIT.search(name):
        deviation = 1.0
    elif _POSITIONS.search(name):
        deviation = 0.02
    else:
        deviation = 1 / math.sqrt(math.prod(shape[1:]))
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    bits = np.random.PCG64(int.from_bytes(digest[:16], "big")).random_raw(math.prod(shape))
    uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    return (uniform * (math.sqrt(3) * deviation)).astype(np.float32).reshape(shape)
