"""Which vertices, or which point, every pixel of a render shows: what the lift scatters masks by.

The community's files: `pixel_to_vertex_map_1024.npz` and `bary_coords_map_1024.npz`, one array [H, W, 3] per view
name, -1 in background pixels.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import MeshError
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import MAX_IMAGE_SIDE, Fragments
from interactvlm.npz import read_arrays

__all__ = ["PixelMaps", "checked_maps", "pixel_maps", "read_pixel_maps", "valid_pixels", "write_pixel_maps"]


@dataclass(frozen=True, slots=True, eq=False)
class PixelMaps:
    """The K = 3 vertices (of a point cloud K = 1 point) each pixel sees, and how much of each.

    Attributes:
        vertex_ids: int32 [J, H, W, K]; -1 in background pixels.
        weights: float32 [J, H, W, K], barycentric, perspective correct; ones for points.
    """

    vertex_ids: NDArray[np.int32]
    weights: NDArray[np.float32]


def pixel_maps(mesh: Mesh, fragments: Fragments) -> PixelMaps:
    """The maps of a rasterised mesh."""
    # One more row, which face id -1 picks: background needs no branch.
    faces = np.concatenate([mesh.faces, np.full((1, 3), -1, dtype=np.int32)])
    return PixelMaps(faces[fragments.face_ids], fragments.barycentric)


def valid_pixels(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels inside the rendered outline, bool [..., H, W]: RGB uint8 [..., H, W, 3] that is not pure white.

    The release's rule, RGB sum < 765. A background that shows through as 254 counts as inside: so does the release.
    """
    return np.asarray((images[..., 0] & images[..., 1] & images[..., 2]) != 255)


def read_pixel_maps(vertex_map: Path, weight_map: Path, views: Sequence[str], *, vertex_count: int) -> PixelMaps:
    """Read a user's own maps.

    Args:
        vertex_map: `pixel_to_vertex_map_1024.npz`.
        weight_map: `bary_coords_map_1024.npz`.
        views: the view names, in the order wanted.
        vertex_count: of the body or object the maps belong to.

    Raises:
        MeshError: a file cannot be read, lacks a view, has another shape, or names a vertex that does not exist.
    """
    ids, weights = (_stacked(path, read_arrays(path, tuple(views))) for path in (vertex_map, weight_map))
    return checked_maps(ids, weights, vertex_count=vertex_count, ids_name=vertex_map.name, weights_name=weight_map.name)


def checked_maps(
    ids: NDArray[Any], weights: NDArray[Any], *, vertex_count: int, ids_name: str, weights_name: str
) -> PixelMaps:
    """Maps that somebody else drew.

    Args:
        ids: integers [J, H, W, K], the K = 3 vertices or K = 1 point behind each pixel; -1 background.
        weights: floats of the same shape.
        vertex_count: of the surface.
        ids_name: what errors call `ids`.
        weights_name: what errors call `weights`.

    Raises:
        MeshError: a type or shape is another, a vertex does not exist, or a weight is not finite.
    """
    if ids.dtype.kind not in "iu" or weights.dtype.kind != "f":
        raise MeshError(
            ids_name, f"must hold integers and {weights_name} floats, they hold {ids.dtype}, {weights.dtype}"
        )
    if ids.ndim != 4 or 0 in ids.shape or max(ids.shape[1:3]) > MAX_IMAGE_SIDE:
        raise MeshError(ids_name, f"is {list(ids.shape)}; maps are [views, height, width, vertices a pixel]")
    if ids.shape != weights.shape:
        raise MeshError(weights_name, f"is {list(weights.shape)}; {ids_name} is {list(ids.shape)}")
    if ids.min() < -1 or ids.max() >= vertex_count:
        wrong = ids.min() if ids.min() < -1 else ids.max()
        raise MeshError(ids_name, f"names vertex {wrong}; vertices are 0 to {vertex_count - 1}, background -1")
    if not np.isfinite(weights).all():
        raise MeshError(weights_name, "holds values that are not finite")
    if ((ids < 0).any(axis=-1) != (ids < 0).all(axis=-1)).any():
        raise MeshError(ids_name, "has pixels with -1 beside vertex ids; background is -1 three times")
    return PixelMaps(ids.astype(np.int32), weights.astype(np.float32))


def write_pixel_maps(maps: PixelMaps, vertex_map: Path, weight_map: Path, views: Sequence[str]) -> None:
    """Write maps in the community's format; each file appears whole or not at all."""
    _write(vertex_map, dict(zip(views, maps.vertex_ids, strict=True)))
    _write(weight_map, dict(zip(views, maps.weights, strict=True)))


def _stacked(path: Path, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """The views' arrays [J, H, W, 3] of one file."""
    first, shape = next((name, array.shape) for name, array in arrays.items())
    if len(shape) != 3 or shape[2] != 3:
        raise MeshError(path.name, f"view {first!r} is {list(shape)}; maps are [height, width, 3]")
    for name, array in arrays.items():
        if array.shape != shape:
            raise MeshError(path.name, f"view {name!r} is {list(array.shape)}, {first!r} is {list(shape)}")
    return np.stack(list(arrays.values()))


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
