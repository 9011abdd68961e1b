"""Closest points on a triangle surface, exact and vectorised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["closest_points"]

_PAIRS_AT_ONCE = 400_000


def closest_points(
    points: NDArray[np.float64], triangles: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For every point the nearest triangle and where on it.

    Args:
        points: float64 [N, 3].
        triangles: float64 [F, 3, 3], corner coordinates.

    Returns:
        Triangle indices int64 [N] and barycentric weights float64 [N, 3], >= 0, rows summing to 1.
    """
    from scipy.spatial import cKDTree

    centres = triangles.mean(axis=1)
    reach = np.linalg.norm(triangles - centres[:, None], axis=2).max(axis=1)
    tree = cKDTree(centres)
    # No triangle whose centre lies farther than this can beat the one with the nearest centre.
    nearest, first = tree.query(points)
    bound = nearest + reach.max() + 1e-12
    index = first.astype(np.int64)
    weights = np.zeros((len(points), 3))
    step = max(1, _PAIRS_AT_ONCE // 200)
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        candidates = tree.query_ball_point(points[part], bound[part])
        counts = np.array([len(found) for found in candidates])
        faces = np.concatenate([np.asarray(found, dtype=np.int64) for found in candidates])
        owner = np.repeat(np.arange(len(counts)), counts)
        local = _closest_on_triangles(points[part][owner], triangles[faces])
        on_surface = np.einsum("nk,nkc->nc", local, triangles[faces])
        distance = np.linalg.norm(on_surface - points[part][owner], axis=1)
        order = np.lexsort((faces, distance, owner))  # ties go to the lowest triangle: repeatable
        best = order[np.concatenate([[0], np.cumsum(counts)[:-1]])]
        index[part], weights[part] = faces[best], local[best]
    return index, weights


def _closest_on_triangles(points: NDArray[np.float64], triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Barycentric weights [N, 3] of the point of triangle n [N, 3, 3] that is closest to point n [N, 3].

    The foot of the perpendicular where it falls inside the triangle, else the best point on the three edges.
    """
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac)
    d20, d21 = _dot(ap, ab), _dot(ap, ac)
    area = d00 * d11 - d01 * d01
    safe = np.where(area > 0, area, 1.0)
    v, w = (d11 * d20 - d01 * d21) / safe, (d00 * d21 - d01 * d20) / safe
    inside = (area > 0) & (v >= 0) & (w >= 0) & (v + w <= 1)

    best = np.zeros((len(points), 3))
    best_distance = np.full(len(points), np.inf)
    for one, other in ((0, 1), (1, 2), (2, 0)):
        edge = triangles[:, other] - triangles[:, one]
        length = _dot(edge, edge)
        along = np.clip(_dot(points - triangles[:, one], edge) / np.where(length > 0, length, 1.0), 0, 1)
        distance = np.linalg.norm(triangles[:, one] + along[:, None] * edge - points, axis=1)
        closer = distance < best_distance
        best_distance[closer] = distance[closer]
        best[closer] = 0
        best[closer, one], best[closer, other] = 1 - along[closer], along[closer]
    best[inside] = np.stack([1 - v - w, v, w], axis=1)[inside]
    return best


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nc,nc->n", one, other))
