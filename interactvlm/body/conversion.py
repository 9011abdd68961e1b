"""Contacts from one body topology to another, each as one sparse matrix.

Three sources of such a map:

- a matrix that the user has, such as the dense [10475, 6890] one of the community: `smplx = M @ smplh`;
- the barycentric maps that Meta publishes with MHR: per target vertex a triangle of the source mesh and weights;
- geometry alone: the nearest surface point between two templates in the canonical pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.surface import closest_points
from interactvlm.errors import InputError, MeshError
from interactvlm.geometry.mesh import MAX_VERTICES
from interactvlm.npz import MAX_ELEMENTS, array_names, damage_named, read_arrays

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from interactvlm.body.template import BodyTemplate

__all__ = ["VertexMap", "load_matrix", "load_mhr_map", "map_between_templates"]

_SMALLEST, _LARGEST = 1e-9, 1e6
"""Weights below the first count as none; above the second they are no weights."""


@dataclass(frozen=True, slots=True, eq=False)
class VertexMap:
    """Carries per-vertex contact from one topology to another.

    Every row is scaled to sum to 1, so that a target vertex gets the weighted mean of its source vertices and
    probabilities stay in [0, 1]. (For the community's matrix, whose rows hold barycentric weights, that changes
    nothing; for its transpose, which goes the other way, it is what makes the result a probability.) A row without
    weights gives 0: no contact.

    Attributes:
        source: topology of the input.
        target: topology of the result.
        matrix: float64 CSR [V_target, V_source], entries >= 0, rows summing to 1 or 0.
    """

    source: str
    target: str
    matrix: csr_array

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
        """Contact on the target's vertices.

        Args:
            probabilities: [..., V_source] in [0, 1].

        Returns:
            float32 [..., V_target] in [0, 1].

        Raises:
            InputError: when the vertex counts differ.
        """
        rows, columns = self.matrix.shape
        if probabilities.shape[-1:] != (columns,):
            raise InputError("contact", f"has shape {probabilities.shape}, {self.source} has {columns} vertices")
        flat = probabilities.reshape(-1, columns).astype(np.float64)
        converted = np.clip((self.matrix @ flat.T).T, 0, 1)
        return np.asarray(converted.reshape(*probabilities.shape[:-1], rows), dtype=np.float32)

    def transposed(self) -> VertexMap:
        """The way back: each source vertex from the target vertices that it feeds."""
        return _vertex_map(self.target, self.source, self.matrix.T)


def load_matrix(path: Path, *, source: str, target: str) -> VertexMap:
    """A user's conversion matrix [V_target, V_source].

    Args:
        path: npy, npz (one 2-D array, or scipy's `save_npz` CSR form) or safetensors (one 2-D tensor).
        source: topology of its columns ("smplh").
        target: topology of its rows ("smplx").

    Raises:
        InputError: for a file of another kind.
        MeshError: when the file is damaged, or its entries are negative, not finite or all zero.
    """
    from scipy.sparse import csr_array

    readers = {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(path.name, f"must be one of {', '.join(readers)}; pickles are not opened")
    matrix = csr_array(reader(path))
    if not np.isfinite(matrix.data).all() or (
        matrix.nnz and not 0 <= matrix.data.min() <= matrix.data.max() <= _LARGEST
    ):
        raise MeshError(path.name, f"holds entries that are no weights: they must lie between 0 and {_LARGEST:g}")
    if matrix.nnz == 0 or matrix.data.max() < _SMALLEST:
        raise MeshError(path.name, "holds zeros only")
    return _vertex_map(source, target, matrix)


def load_mhr_map(
    path: Path, source_faces: NDArray[np.integer], *, source_vertices: int, source: str, target: str
) -> VertexMap:
    """One of the maps published with MHR (Momentum Human Rig), such as `mhr2smplx_mapping.npz`.

    Args:
        path: npz with `triangle_ids` int [V_target], triangles of the source mesh, and `baryc_coords` float
            [V_target, 3], the weights of their corners.
        source_faces: int [F, 3] of the source mesh (for a map from MHR: the faces of its level of detail 1).
        source_vertices: vertex count of the source mesh (18,439 for MHR's level of detail 1).
        source: topology that the triangles belong to ("mhr").
        target: topology that the rows belong to ("smplx").

    Raises:
        MeshError: when the file is damaged or does not fit the faces.
    """
    arrays = read_arrays(path, ("triangle_ids", "baryc_coords"))
    triangles, weights = arrays["triangle_ids"], arrays["baryc_coords"]
    if triangles.ndim != 1 or triangles.dtype.kind not in "iu" or weights.dtype.kind != "f":
        raise MeshError(path.name, "must hold integers [V] as triangle_ids and floats [V, 3] as baryc_coords")
    if weights.shape != (len(triangles), 3) or not np.isfinite(weights).all():
        raise MeshError(path.name, f"holds baryc_coords of shape {weights.shape} for {len(triangles)} triangle_ids")
    if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(source_faces):
        raise MeshError(path.name, f"names triangles beyond the {len(source_faces)} of {source}")
    # Points a hair outside their triangle carry tiny negative weights.
    return _barycentric_map(source, target, source_faces[triangles], np.clip(weights, 0, None), source_vertices)


def map_between_templates(source: BodyTemplate, target: BodyTemplate) -> VertexMap:
    """A map from geometry: every target vertex takes the contact of the nearest point on the source's surface.

    Bodies differ in build even in the same pose, so the search is made part by part, with the target's part moved
    and stretched onto the source's bounding box: contact never jumps between parts that do not adjoin.

    Args:
        source: topology of the input, canonical pose.
        target: topology of the result, canonical pose.

    Raises:
        MeshError: when a part of the target has no face in the source.
    """
    corners = np.zeros((target.vertex_count, 3), dtype=np.int64)
    weights = np.zeros((target.vertex_count, 3))
    face_parts = source.part_index[source.faces]
    for part in np.unique(target.part_index):
        faces = source.faces[(face_parts == part).any(axis=1)]
        if not len(faces):
            raise MeshError(source.topology, f"has no {target.part_names[part]}")
        chosen = target.part_index == part
        points = _fit_box(target.vertices[chosen], source.vertices[source.part_index == part])
        face, weights[chosen] = closest_points(points, source.vertices[faces].astype(np.float64))
        corners[chosen] = faces[face]
    return _barycentric_map(source.topology, target.topology, corners, weights, source.vertex_count)


def _fit_box(points: NDArray[np.float32], onto: NDArray[np.float32]) -> NDArray[np.float64]:
    """Points moved and stretched, axis by axis, so that their bounding box becomes that of `onto`."""
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    new_low, new_high = onto.min(axis=0).astype(np.float64), onto.max(axis=0).astype(np.float64)
    extent = np.where(high > low, high - low, 1.0)
    return np.asarray((points - low) / extent * (new_high - new_low) + new_low)


def _barycentric_map(
    source: str, target: str, corners: NDArray[np.integer], weights: NDArray[np.floating], source_vertices: int
) -> VertexMap:
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(len(corners)), 3)
    entries = (weights.ravel().astype(np.float64), (rows, corners.ravel().astype(np.int64)))
    return _vertex_map(source, target, csr_array(entries, shape=(len(corners), source_vertices)))


def _vertex_map(source: str, target: str, matrix: csr_array) -> VertexMap:
    from scipy.sparse import csr_array, diags_array

    matrix = csr_array(matrix, dtype=np.float64, copy=True)
    matrix.data[matrix.data < _SMALLEST] = 0
    matrix.eliminate_zeros()
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    scale = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return VertexMap(source=source, target=target, matrix=csr_array(diags_array(scale) @ matrix))


def _read_npy(path: Path) -> NDArray[np.generic]:
    with damage_named(path):
        return _checked(path, np.load(path, mmap_mode="r", allow_pickle=False))  # mapped: a false header costs nothing


def _read_npz(path: Path) -> NDArray[np.generic] | csr_array:
    from scipy.sparse import csr_array

    names = array_names(path)
    if {"data", "indices", "indptr", "shape"} <= set(names):
        arrays = read_arrays(path, ("data", "indices", "indptr", "shape"))
        with damage_named(path):
            shape = tuple(int(length) for length in arrays["shape"])
            matrix = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
            matrix.check_format(full_check=True)
        if matrix.ndim != 2 or max(shape) > MAX_VERTICES:
            raise MeshError(path.name, f"holds a matrix of shape {shape}, the limit is {MAX_VERTICES} vertices")
        return matrix
    if len(names) != 1:
        raise MeshError(path.name, f"must hold one matrix, it holds {', '.join(names) or 'nothing'}")
    return _checked(path, read_arrays(path, names)[names[0]])


def _read_safetensors(path: Path) -> NDArray[np.generic]:
    from safetensors import safe_open

    with damage_named(path), safe_open(path, framework="numpy") as tensors:
        names = list(tensors.keys())
        if len(names) != 1:
            raise MeshError(path.name, f"must hold one matrix, it holds {', '.join(names) or 'nothing'}")
        return _checked(path, tensors.get_tensor(names[0]))


def _checked(path: Path, matrix: NDArray[np.generic]) -> NDArray[np.generic]:
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiub":
        raise MeshError(path.name, f"must hold numbers [V_target, V_source], not {matrix.dtype} {matrix.shape}")
    if matrix.size > MAX_ELEMENTS:
        raise MeshError(path.name, f"holds {matrix.size} numbers, the limit is {MAX_ELEMENTS}")
    return matrix
