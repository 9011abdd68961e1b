"""A small picture of a mesh for people to look at: three quarters from the front, from above, on white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh
from interactvlm.retrieval.view_renders import ViewPose, render_object

__all__ = ["thumbnail"]

_POSE = ViewPose(35.0, 20.0)
_SIDES = (16, 1024)


def thumbnail(mesh: Mesh, size: int) -> NDArray[np.uint8]:
    """Render a thumbnail.

    Args:
        mesh: +y up.
        size: pixels of its sides, 16 to 1024.

    Returns:
        RGB uint8 [size, size, 3].

    Raises:
        InputError: another size.
        MeshError: all vertices coincide.
    """
    if not _SIDES[0] <= size <= _SIDES[1]:
        raise InputError("size", f"is {size}; it must be from {_SIDES[0]} to {_SIDES[1]}")
    images, _ = render_object(mesh, [_POSE], size, background=(255, 255, 255))
    return np.asarray(images[0])
