"""Distances along a surface, to the nearest vertex of a set, for any mesh.

The published geodesic error asks, for every predicted vertex, how far the nearest true one is. That takes one shortest
path search from all true vertices at once, not the matrix of all pairs of vertices. Paths run over a graph that lies
on the surface: the mesh's vertices, points along every edge, and a straight line between any two points of a triangle.
With two points an edge, distances on the embedded body come out 0.9 % too long on average (1.0 cm edges, against an
exact solver); they never come out too short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError

if TYPE_CHECKING:
    from interactvlm.geometry.mesh import Mesh

__all__ = ["SurfaceDistances"]

_POINTS_PER_EDGE = 2


class SurfaceDistances:
    """Shortest paths over one mesh.

    Args:
        mesh: V vertices; pieces that are not connected are allowed.
    """

    def __init__(self, mesh: Mesh) -> None:
        from scipy.sparse import csr_array

        self._vertices = mesh.vertices.astype(np.float64)
        faces = mesh.faces.astype(np.int64)
        corners = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        edges, edge_of = np.unique(corners, axis=0, return_inverse=True)
        share = (np.arange(_POINTS_PER_EDGE) + 1) / (_POINTS_PER_EDGE + 1)
        start, end = self._vertices[edges[:, 0], None], self._vertices[edges[:, 1], None]
        on_edges = (start * (1 - share[:, None]) + end * share[:, None]).reshape(-1, 3)
        points = np.concatenate([self._vertices, on_edges])
        first = len(self._vertices) + edge_of.reshape(3, -1).T[:, :, None] * _POINTS_PER_EDGE
        of_face = np.concatenate(
            [faces, (first + np.arange(_POINTS_PER_EDGE)).reshape(len(faces), -1)], axis=1
        )  # every triangle's corners and edge points
        one, other = np.triu_indices(of_face.shape[1], 1)
        pairs = np.sort(np.stack([of_face[:, one].ravel(), of_face[:, other].ravel()], axis=1), axis=1)
        pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
        length = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
        length = np.maximum(length, 1e-12)  # an explicit zero would be no connection at all
        rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
        self._graph = csr_array((np.concatenate([length, length]), (rows, columns)), shape=(len(points),) * 2)

    @property
    def vertex_count(self) -> int:
        """V."""
        return len(self._vertices)

    def to_nearest(self, targets: NDArray[np.integer]) -> NDArray[np.float32]:
        """Distance of every vertex to the nearest of `targets`.

        Args:
            targets: vertex ids [n], at least one.

        Returns:
            float32 [V], in the unit of the mesh (metres); 0 at the targets. A piece of the mesh without a target is
            bridged by the straight line to the nearest one.

        Raises:
            InputError: no target, or one that is no vertex.
        """
        from scipy.sparse.csgraph import dijkstra

        ids = np.unique(np.asarray(targets))
        if not len(ids) or ids[0] < 0 or ids[-1] >= self.vertex_count:
            shown = f"name vertices {ids[0]} to {ids[-1]}" if len(ids) else "are empty"
            raise InputError("targets", f"{shown}; ids from 0 to {self.vertex_count - 1} are needed")
        found = dijkstra(self._graph, indices=ids, min_only=True)[: self.vertex_count]
        apart = ~np.isfinite(found)
        if apart.any():
            from scipy.spatial import KDTree

            found[apart] = KDTree(self._vertices[ids]).query(self._vertices[apart])[0]
        return np.asarray(found, dtype=np.float32)

    def matrix(self) -> NDArray[np.float32]:
        """All pairs, float32 [V, V]: for `geodesic_errors` and `summarize_damon` on small meshes."""
        return np.stack([self.to_nearest(np.array([vertex])) for vertex in range(self.vertex_count)])
