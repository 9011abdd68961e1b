"""Triangle meshes and point clouds as immutable numpy arrays, valid by construction. No torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import MeshError

__all__ = ["MAX_FACES", "MAX_POINTS", "MAX_VERTICES", "Mesh", "PointCloud"]

#: Ceilings that hold for every mesh, whatever a loader's own limits are.
MAX_VERTICES = 5_000_000
MAX_FACES = 10_000_000
MAX_POINTS = 5_000_000

#: Coordinates beyond this overflow float32 in dot and cross products.
_MAX_COORDINATE = 1e9


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh; arrays are copied and read-only.

    Attributes:
        vertices: float32 [V, 3], metres.
        faces: int32 [F, 3], vertex indices; either winding.
        vertex_colors: uint8 [V, 3] RGB, None where the mesh has none.

    Raises:
        MeshError: an array has another shape, is not finite, names a vertex that does not exist, is empty, or is
            larger than MAX_VERTICES / MAX_FACES.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    vertex_colors: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        vertices = _coordinates("vertices", self.vertices, MAX_VERTICES)
        faces = _faces(self.faces, len(vertices))
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)
        if self.vertex_colors is not None:
            colors = np.array(self.vertex_colors)
            if colors.shape != vertices.shape or colors.dtype != np.uint8:
                raise MeshError(
                    "vertex_colors",
                    f"must be uint8 of shape {vertices.shape}, is {colors.dtype} of shape {colors.shape}",
                )
            object.__setattr__(self, "vertex_colors", _frozen(colors))

    @cached_property
    def content_hash(self) -> str:
        """Sha256, hex, of vertices and faces with their shapes: equal for equal meshes on every machine.

        Colours do not count: no answer depends on them, and they do not travel between services.
        """
        return _hash("mesh", self.vertices, self.faces)

    @cached_property
    def vertex_normals(self) -> NDArray[np.float32]:
        """Unit normals, float32 [V, 3]: faces' cross products summed per vertex, hence weighted by area.

        A vertex without any face of non-zero area has normal 0. Agrees with PyTorch3D's `verts_normals`.
        """
        corners = self.vertices.astype(np.float64)[self.faces]
        products = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        flat = self.faces.ravel()
        sums = np.stack(
            [np.bincount(flat, np.repeat(products[:, axis], 3), len(self.vertices)) for axis in range(3)], axis=1
        )
        # The floor on the length is PyTorch3D's (1e-6): normals of microscopic fans fade out instead of being noise.
        length = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
        return _frozen((sums / length).astype(np.float32))

    @cached_property
    def bounds(self) -> NDArray[np.float32]:
        """Lowest and highest corner, float32 [2, 3]."""
        return _frozen(np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)]))

    def centred(self) -> Mesh:
        """This mesh with the mean of its vertices at the origin and its largest extent 1 (PAPER, views).

        Raises:
            MeshError: all vertices coincide.
        """
        low, high = self.bounds.astype(np.float64)
        extent = float((high - low).max())
        if extent <= 0:
            raise MeshError("vertices", "all coincide: the mesh has no extent to normalise")
        offset = self.vertices - self.vertices.mean(axis=0, dtype=np.float64)
        return Mesh((offset / extent).astype(np.float32), self.faces, self.vertex_colors)


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points; the array is copied and read-only.

    Attributes:
        xyz: float32 [N, 3], metres.

    Raises:
        MeshError: another shape, a value that is not finite, no point, or more than MAX_POINTS.
    """

    xyz: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "xyz", _coordinates("points", self.xyz, MAX_POINTS))

    @cached_property
    def content_hash(self) -> str:
        """Sha256, hex, of shape and little-endian array."""
        return _hash("points", self.xyz)

    def centred(self) -> PointCloud:
        """These points with their centroid at the origin and the farthest at distance 1 (PAPER, views).

        Raises:
            MeshError: all points coincide.
        """
        offset = self.xyz.astype(np.float64) - self.xyz.mean(axis=0, dtype=np.float64)
        radius = float(np.linalg.norm(offset, axis=1).max())
        if radius <= 0:
            raise MeshError("points", "all coincide: the cloud has no extent to normalise")
        return PointCloud((offset / radius).astype(np.float32))


def _coordinates(field: str, values: Any, limit: int) -> NDArray[np.float32]:
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise MeshError(field, f"must be numbers of shape [N, 3], is {array.dtype} of shape {list(array.shape)}")
    if len(array) == 0:
        raise MeshError(field, "is empty")
    if len(array) > limit:
        raise MeshError(field, f"has {len(array)} rows; the limit is {limit}")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise MeshError(field, f"row {row} is {array[row].tolist()}: coordinates must be finite")
    if np.abs(array).max() > _MAX_COORDINATE:
        raise MeshError(field, f"reach {np.abs(array).max():.3g}; coordinates are metres, the limit is 1e9")
    return _frozen(array.astype(np.float32))


def _faces(values: Any, vertex_count: int) -> NDArray[np.int32]:
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise MeshError("faces", f"must be integers of shape [F, 3], is {array.dtype} of shape {list(array.shape)}")
    if len(array) == 0:
        raise MeshError("faces", "is empty: a mesh needs at least one triangle")
    if len(array) > MAX_FACES:
        raise MeshError("faces", f"has {len(array)} rows; the limit is {MAX_FACES}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= vertex_count:
        wrong = low if low < 0 else high
        raise MeshError("faces", f"names vertex {wrong}; the mesh has vertices 0 to {vertex_count - 1}")
    return _frozen(array.astype(np.int32))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def _hash(kind: str, *arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256(kind.encode())
    for array in arrays:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"|{little.dtype.str}{little.shape}|".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()
