"""The release's own renders and maps of an object, as users have them, in place of ours.

A mesh's folder holds one mesh file, `obj_render_color_{view}.png`, and either `lift2d_dict.npz` (the release's
`lift2d_dict.pkl`, converted) or `p2vmap_{view}_{size}.npz`. A point cloud's holds one file of points,
`sam_{view}.png` and `p2pmap_{view}_{size}.npz`. Views: `OBJECT_VIEWS`, in that order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.errors import MeshError, PhotoError
from interactvlm.geometry.cameras import OBJECT_VIEWS
from interactvlm.geometry.load import MESH_TYPES, POINT_TYPES, load_mesh, load_point_cloud
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.geometry.pixel_maps import PixelMaps, checked_maps
from interactvlm.npz import read_arrays

__all__ = ["LIFT_MAPS", "LIFT_MAPS_PICKLE", "OfficialMesh", "OfficialPoints", "OfficialViews"]
__all__ += ["load_official_object", "read_renders"]

#: The release's maps of an object mesh, all views in one file; as published a pickle, which is converted offline.
LIFT_MAPS_PICKLE = "lift2d_dict.pkl"
LIFT_MAPS = "lift2d_dict.npz"

_NAMES = tuple(view.name for view in OBJECT_VIEWS)


@dataclass(frozen=True, eq=False)
class OfficialViews:
    """An object in its four views, rendered by the release.

    Attributes:
        images: RGB uint8 [J, S, S, 3], white background.
        maps: which vertices or points stand behind their pixels, [J, S, S, K].
    """

    images: NDArray[np.uint8]
    maps: PixelMaps

    @cached_property
    def content_hash(self) -> str:
        """Sha256, hex, of renders and maps."""
        digest = hashlib.sha256()
        for array in (self.images, self.maps.vertex_ids, self.maps.weights):
            digest.update(f"{array.dtype.str}{array.shape}|".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class OfficialMesh(Mesh):
    """A mesh that brings its own views: masks are predicted on these instead of on our renders.

    Everything else treats it as the mesh it is; a server, which is sent the mesh alone, renders it.
    """

    views: OfficialViews = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class OfficialPoints(PointCloud):
    """A point cloud that brings its own views, likewise."""

    views: OfficialViews = field(kw_only=True)


def load_official_object(folder: Path) -> OfficialMesh | OfficialPoints:
    """Read an object's folder (see this module's head for what it holds).

    Raises:
        MeshError: the mesh, points or a map is missing, damaged, ambiguous, or does not fit the others.
        PhotoError: a render is missing, damaged or of another size than the maps.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise MeshError(str(folder), f"cannot be read as an object's folder ({error.strerror})") from None
    if LIFT_MAPS in names or any(name.startswith("p2vmap_") for name in names):
        path = _only(folder, names, "mesh", MESH_TYPES)
        mesh = load_mesh(path, file_type=path.suffix[1:].lower())
        maps = _mesh_maps(folder, names, len(mesh.vertices))
        images = read_renders(folder, "obj_render_color_{}.png", _NAMES, maps.vertex_ids.shape[1:3])
        return OfficialMesh(mesh.vertices, mesh.faces, mesh.vertex_colors, views=OfficialViews(images, maps))
    if any(name.startswith("p2pmap_") for name in names):
        others = [name for name in names if not name.startswith("p2pmap_")]
        path = _only(folder, others, "file of points", POINT_TYPES)
        points = load_point_cloud(path, file_type=path.suffix[1:].lower())
        maps = _point_maps(folder, names, len(points.xyz))
        images = read_renders(folder, "sam_{}.png", _NAMES, maps.vertex_ids.shape[1:3])
        return OfficialPoints(points.xyz, views=OfficialViews(images, maps))
    if LIFT_MAPS_PICKLE in names:
        pickle, converted = folder / LIFT_MAPS_PICKLE, folder / LIFT_MAPS
        raise MeshError(
            str(folder), f"has its maps as a pickle; run `interactvlm convert-checkpoint {pickle} {converted}`"
        )
    raise MeshError(str(folder), f"holds no maps: neither {LIFT_MAPS} nor p2vmap_*.npz nor p2pmap_*.npz")


def read_renders(folder: Path, pattern: str, views: Sequence[str], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """A user's own renders, RGB uint8 [J, H, W, 3].

    Args:
        folder: where they lie.
        pattern: their names, with `{}` for the view.
        views: the view names, in the order wanted.
        size: (height, width) of the maps they belong to.

    Raises:
        PhotoError: a render is missing, damaged or of another size.
    """
    return np.stack([_read_render(folder / pattern.format(view), size) for view in views])


def _read_render(path: Path, size: tuple[int, ...]) -> NDArray[np.uint8]:
    height, width = size
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.size != (width, height):
                raise PhotoError(
                    path.name, f"is {image.size[0]} x {image.size[1]} pixels; the maps are {width} x {height}"
                )
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise PhotoError(path.name, f"is missing in {path.parent}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PhotoError(path.name, f"is not a readable PNG ({error})") from None


def _only(folder: Path, names: Sequence[str], what: str, types: Sequence[str]) -> Path:
    found = [name for name in names if Path(name).suffix.lower().removeprefix(".") in types and name != LIFT_MAPS]
    if len(found) != 1:
        raise MeshError(str(folder), f"must hold one {what} ({', '.join(types)}), it has {', '.join(found) or 'none'}")
    return folder / found[0]


def _mesh_maps(folder: Path, names: Sequence[str], count: int) -> PixelMaps:
    keys = ("pixel_to_vertices_map", "bary_coords_map", "num_vertices")
    if LIFT_MAPS in names:
        name, stored = LIFT_MAPS, read_arrays(folder / LIFT_MAPS, keys)
    else:
        name, stored = "p2vmap_*.npz", _by_view(folder, names, "p2vmap", keys)
    declared = {int(value) for value in np.ravel(stored["num_vertices"])}
    if declared != {count}:
        raise MeshError(name, f"is for a mesh of {min(declared, default=0)} vertices; the one beside it has {count}")
    ids, weights = stored["pixel_to_vertices_map"], stored["bary_coords_map"]
    if len(ids) != len(_NAMES) or ids.shape[-1] != 3:
        raise MeshError(
            name, f"pixel_to_vertices_map is {list(ids.shape)}; it must be [{len(_NAMES)}, height, width, 3]"
        )
    return checked_maps(ids, weights, vertex_count=count, ids_name=name, weights_name=f"{name} (bary_coords_map)")


def _point_maps(folder: Path, names: Sequence[str], count: int) -> PixelMaps:
    ids = _by_view(folder, names, "p2pmap", ("mapping",))["mapping"][..., None]
    name = "p2pmap_*.npz"
    return checked_maps(ids, np.ones(ids.shape), vertex_count=count, ids_name=name, weights_name=name)


def _by_view(folder: Path, names: Sequence[str], prefix: str, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Arrays of one file a view, stacked in the order of the views."""
    read = []
    for view in _NAMES:
        found = [name for name in names if name.startswith(f"{prefix}_{view}_") and name.endswith(".npz")]
        if len(found) != 1:
            raise MeshError(str(folder), f"must hold one {prefix}_{view}_*.npz, it has {', '.join(found) or 'none'}")
        read.append(read_arrays(folder / found[0], keys))
    for key in keys:
        shapes = {arrays[key].shape for arrays in read}
        if len(shapes) != 1:
            raise MeshError(f"{prefix}_*.npz", f"{key} has other shapes in other views: {sorted(shapes)}")
    return {key: np.stack([arrays[key] for arrays in read]) for key in keys}
