"""Loading meshes and point clouds that strangers send.

The type is stated by the caller, never guessed; what the file declares is checked before it is parsed; nothing in it
can make another file be opened; whatever is wrong with it comes out as one MeshError. Vertex order is the file's.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import MeshError
from interactvlm.geometry.format_checks import MeshLimits, check_glb, check_obj, check_ply
from interactvlm.geometry.mesh import Mesh, PointCloud

__all__ = ["DEFAULT_LIMITS", "MESH_TYPES", "POINT_TYPES", "MeshLimits", "load_mesh", "load_point_cloud"]

DEFAULT_LIMITS = MeshLimits()

_CHECKS: dict[str, Callable[[str, bytes, MeshLimits], bytes]] = {"glb": check_glb, "obj": check_obj, "ply": check_ply}

#: Accepted values of `file_type`.
MESH_TYPES = tuple(_CHECKS)
POINT_TYPES = ("ply", "npy", "npz", "xyz")

Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8] | None]
Parsed = TypeVar("Parsed")

#: Arrays of an npz that are taken for the points, in this order; a single array may have any name.
_POINT_KEYS = ("xyz", "points", "vertices")


def load_mesh(source: Path | bytes, *, file_type: str, limits: MeshLimits = DEFAULT_LIMITS) -> Mesh:
    """Load a triangle mesh; polygons are triangulated, scene graphs are flattened with their transforms.

    Args:
        source: a file, or its content.
        file_type: "glb", "ply" or "obj".
        limits: caps on bytes, vertices and faces.

    Raises:
        MeshError: the file cannot be read, is not of that type, is beyond the limits, or its geometry is invalid.
    """
    field = _field(source)
    if file_type not in MESH_TYPES:
        raise MeshError(field, f"is of type {file_type!r}; meshes are read from {', '.join(MESH_TYPES)}")
    data = _CHECKS[file_type](field, _read(source, limits), limits)
    vertices, faces, colours = _guarded(field, file_type, lambda: _parse(field, data, file_type))
    if len(vertices) > limits.max_vertices or len(faces) > limits.max_faces:
        raise MeshError(
            field,
            f"has {len(vertices)} vertices and {len(faces)} faces; the limits are {limits.max_vertices} and "
            f"{limits.max_faces}",
        )
    return _named(field, lambda: Mesh(vertices, faces, colours))


def load_point_cloud(source: Path | bytes, *, file_type: str, limits: MeshLimits = DEFAULT_LIMITS) -> PointCloud:
    """Load points.

    Args:
        source: a file, or its content.
        file_type: "ply" (its vertices), "npy" [N, 3+], "npz" (its array "xyz", "points", "vertices" or only one) or
            "xyz" (text rows that start with x y z). Further columns are ignored.
        limits: caps on bytes and points.

    Raises:
        MeshError: the file cannot be read, is not of that type, is beyond the limits, or holds no finite points.
    """
    field = _field(source)
    if file_type not in POINT_TYPES:
        raise MeshError(field, f"is of type {file_type!r}; point clouds are read from {', '.join(POINT_TYPES)}")
    data = _read(source, limits)
    if file_type == "ply":
        checked = check_ply(field, data, limits)
        xyz = _guarded(field, file_type, lambda: _ply_arrays(field, checked)["vertices"])
    elif file_type == "xyz":
        xyz = _guarded(field, file_type, lambda: _text_rows(data, limits))
    else:
        xyz = _guarded(field, file_type, lambda: _numpy_points(field, data, file_type, limits))
    if xyz.ndim != 2 or xyz.shape[1] < 3 or len(xyz) > limits.max_vertices:
        raise MeshError(field, f"is {list(xyz.shape)}; points are [N, 3] with N up to {limits.max_vertices}")
    return _named(field, lambda: PointCloud(xyz[:, :3]))


def _field(source: Path | bytes) -> str:
    return "mesh" if isinstance(source, bytes) else source.name


def _read(source: Path | bytes, limits: MeshLimits) -> bytes:
    field = _field(source)
    if isinstance(source, bytes):
        data, size = source, len(source)
    else:
        try:
            if not source.is_file():
                raise MeshError(field, "is no file")
            size = source.stat().st_size
            with source.open("rb") as file:
                data = file.read(limits.max_bytes + 1) if size <= limits.max_bytes else b""
        except OSError as error:
            raise MeshError(field, f"cannot be read ({error.strerror})") from error
        size = max(size, len(data))
    if size > limits.max_bytes:
        raise MeshError(field, f"has {size} bytes; the limit is {limits.max_bytes}")
    if not data:
        raise MeshError(field, "is empty")
    return data


def _guarded(field: str, file_type: str, parse: Callable[[], Parsed]) -> Parsed:
    """Run a parser; whatever it raises means that the file is malformed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return parse()
    except MeshError:
        raise
    except Exception as error:  # parsers of hostile files raise anything
        raise MeshError(field, f"is not a valid {file_type.upper()} file ({type(error).__name__})") from error


def _named(field: str, make: Callable[[], Parsed]) -> Parsed:
    """Name the file in an error about its arrays."""
    try:
        return make()
    except MeshError as error:
        raise MeshError(field, f"{error.field} {error.problem}") from error


def _parse(field: str, data: bytes, file_type: str) -> Arrays:
    if file_type == "glb":
        return _glb_arrays(field, data)
    if file_type == "ply":
        parsed = _ply_arrays(field, data)
    else:
        from trimesh.exchange.obj import load_obj

        # One group of plain triangles: the checks left nothing else.
        loaded = load_obj(io.BytesIO(data), skip_materials=True, maintain_order=True)
        (parsed,) = loaded["geometry"].values() if "geometry" in loaded else (loaded,)
    if parsed.get("faces") is None:
        raise MeshError(field, "has no faces")
    faces = np.asarray(parsed["faces"])
    if faces.ndim == 2 and faces.shape[1] == 4:
        faces = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    return np.asarray(parsed["vertices"]), faces, _colours(parsed.get("vertex_colors"))


def _ply_arrays(field: str, data: bytes) -> dict[str, Any]:
    from trimesh.exchange.ply import load_ply

    # fix_texture would split vertices along texture seams.
    parsed: dict[str, Any] = load_ply(io.BytesIO(data), fix_texture=False, skip_materials=True)
    if "vertices" not in parsed:
        raise MeshError(field, "has no vertices")
    faces = parsed["metadata"]["_ply_raw"].get("face", {}).get("data")
    if isinstance(faces, np.ndarray):
        for name in faces.dtype.names or ():
            # The parser reads every row with the first row's list length.
            if faces.dtype[name].names and (faces[name]["f0"] != faces[name]["f0"][:1]).any():
                raise MeshError(field, "mixes triangles and other polygons, which binary PLY is not read with")
    return parsed


def _glb_arrays(field: str, data: bytes) -> Arrays:
    import trimesh

    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", resolver=None, process=False, skip_materials=True)
    vertices: list[NDArray[Any]] = []
    faces: list[NDArray[Any]] = []
    colours: list[NDArray[np.uint8] | None] = []
    offset = 0
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        part = scene.geometry[name]
        if not isinstance(part, trimesh.Trimesh):
            continue  # points and lines
        if len(part.faces) and (part.faces.min() < 0 or part.faces.max() >= len(part.vertices)):
            raise MeshError(field, f"names vertex {part.faces.max()} in a part of {len(part.vertices)} vertices")
        vertices.append(trimesh.transform_points(part.vertices, transform))
        faces.append(part.faces + offset)
        colours.append(_colours(part.visual.vertex_colors) if part.visual.kind == "vertex" else None)
        offset += len(part.vertices)
    if not vertices:
        raise MeshError(field, "has no triangles")
    painted = [colour for colour in colours if colour is not None]
    return (
        np.concatenate(vertices),
        np.concatenate(faces),
        np.concatenate(painted) if len(painted) == len(colours) else None,
    )


def _colours(values: Any) -> NDArray[np.uint8] | None:
    """RGB of 0..255 integers or 0..1 floats, alpha dropped."""
    if values is None:
        return None
    colours = np.asarray(values)[:, :3]
    if colours.dtype.kind == "f":
        # OBJ: floats are 0..1 by convention, some writers use 0..255.
        scale = 1 if colours.max(initial=0) > 1 else 255
        colours = np.nan_to_num(np.clip(colours * scale, 0, 255)).round()
    return np.asarray(np.clip(colours, 0, 255).astype(np.uint8))


def _text_rows(data: bytes, limits: MeshLimits) -> NDArray[Any]:
    return np.loadtxt(io.BytesIO(data), usecols=(0, 1, 2), ndmin=2, max_rows=limits.max_vertices + 1, encoding="utf-8")


def _numpy_points(field: str, data: bytes, file_type: str, limits: MeshLimits) -> NDArray[Any]:
    if file_type == "npz":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            chosen = next((key for key in _POINT_KEYS if key in names), names[0] if len(names) == 1 else None)
            if chosen is None:
                raise MeshError(field, f"has no array {' or '.join(map(repr, _POINT_KEYS))}")
            # An archive may unpack to any size: no more is read than a file may have.
            with archive.open(f"{chosen}.npy") as member:
                data = member.read(limits.max_bytes + 1)
        if len(data) > limits.max_bytes:
            raise MeshError(field, f"unpacks to more than {limits.max_bytes} bytes, the limit")
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if dtype.hasobject or len(shape) != 2 or np.prod(shape, dtype=float) * dtype.itemsize > len(data) - stream.tell():
        raise MeshError(field, f"declares {dtype} of shape {list(shape)} in {len(data)} bytes; points are [N, 3]")
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
