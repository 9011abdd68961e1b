"""What a rasteriser returns, and the choice of one."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError, MissingDependencyError
from interactvlm.geometry.cameras import Cameras
from interactvlm.geometry.mesh import Mesh

__all__ = ["MAX_IMAGE_SIDE", "Fragments", "Rasterizer", "available_backends", "rasterize"]

#: Longest side of an image that is rasterised, pixels.
MAX_IMAGE_SIDE = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """The nearest face at every pixel centre of J views; -1 everywhere in background pixels.

    Attributes:
        face_ids: int32 [J, H, W].
        barycentric: float32 [J, H, W, 3], perspective correct: the weights of the face's three vertices at the
            surface point seen, summing to 1.
        depth: float32 [J, H, W], view-space z, metres.
    """

    face_ids: NDArray[np.int32]
    barycentric: NDArray[np.float32]
    depth: NDArray[np.float32]


class Rasterizer(Protocol):
    """A backend: blur 0, one face per pixel, both sides of faces drawn, triangles cut at half the near distance."""

    def __call__(self, mesh: Mesh, cameras: Cameras, image_size: tuple[int, int]) -> Fragments:
        """Rasterise `mesh` in every camera at (height, width)."""
        ...


def available_backends() -> tuple[str, ...]:
    """Names that `rasterize` accepts on this machine."""
    return tuple(name for name in ("numba", "pytorch3d") if importlib.util.find_spec(name) is not None)


def rasterize(mesh: Mesh, cameras: Cameras, image_size: tuple[int, int] | int, *, backend: str = "numba") -> Fragments:
    """Which face, where on it and how far, at every pixel centre.

    Args:
        mesh: what is seen, in the world of `cameras`.
        cameras: J cameras.
        image_size: (height, width), or one number for a square.
        backend: "numba" (CPU, the default) or "pytorch3d" (where it is installed).

    Raises:
        InputError: an image side outside 1..8192, or a backend of another name.
        MissingDependencyError: the backend's package is not installed.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not all(1 <= side <= MAX_IMAGE_SIDE for side in size):
        raise InputError("image_size", f"is {size}; sides must be 1 to {MAX_IMAGE_SIDE} pixels")
    return _backend(backend)(mesh, cameras, size)


def _backend(name: str) -> Rasterizer:
    if name not in ("numba", "pytorch3d"):
        raise InputError("backend", f"is {name!r}; rasterisers are 'numba' and 'pytorch3d'")
    if importlib.util.find_spec(name) is None:
        raise MissingDependencyError(name, "mvloc")
    if name == "pytorch3d":
        from interactvlm.geometry.raster_pytorch3d import rasterize_pytorch3d

        return rasterize_pytorch3d
    from interactvlm.geometry.raster_numba import rasterize_numba

    return rasterize_numba
