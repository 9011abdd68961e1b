"""Colours that encode shape: what the renders shown to the image encoder are painted with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.mesh import Mesh

__all__ = ["nocs_colours", "normal_colours", "to_uint8"]


def normal_colours(mesh: Mesh) -> NDArray[np.float32]:
    """Vertex normals as RGB, float32 [V, 3] in [0, 1]: (normal + 1) / 2. The body's paint (PAPER, "Views")."""
    return ((mesh.vertex_normals + np.float32(1)) / np.float32(2)).astype(np.float32)


def nocs_colours(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Positions [N, 3] as RGB, float32 [N, 3] in [0.1, 0.9]. The object's paint (PAPER, "Views").

    Each axis is scaled to its own range, then by 0.8 and moved by 0.1; an axis without extent becomes 0.1.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    extent = np.where(high > low, high - low, np.float32(1))
    colours: NDArray[np.float32] = (points - low) / extent * np.float32(0.8) + np.float32(0.1)
    return colours


def to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """RGB float32 in [0, 1] as uint8: floor(255 * rgb), as the release stores its renders."""
    # Rounding may leave a hair more than 1, which must not wrap around.
    quantised: NDArray[np.uint8] = np.minimum(image * np.float32(255), np.float32(255)).astype(np.uint8)
    return quantised
