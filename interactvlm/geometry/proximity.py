"""How near points are to a triangle surface, and which lie inside it; compiled, for meshes of a few thousand faces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.compiled import compiled

__all__ = ["first_hits", "inside_surface", "surface_distances"]

Array = NDArray[np.float64]


def surface_distances(points: Array, triangles: Array, reach: float) -> Array:
    """Distance from each point to the surface where it is below `reach`, else infinity.

    Args:
        points: float64 [N, 3].
        triangles: float64 [F, 3, 3], corners.
        reach: metres.
    """
    points, triangles = np.ascontiguousarray(points), np.ascontiguousarray(triangles)
    if not len(points) or not len(triangles):
        return np.full(len(points), np.inf)
    near = _overlapping(triangles, points.min(axis=0) - reach, points.max(axis=0) + reach)
    triangles = triangles[near]
    return _distances(points, triangles, triangles.min(axis=1), triangles.max(axis=1), reach)


def inside_surface(points: Array, triangles: Array) -> NDArray[np.bool_]:
    """Which points a closed surface encloses, bool [N]; of an open one, by a vote of three rays.

    Closed pieces may run into one another: what counts is whether the surface winds around the point.

    Args:
        points: float64 [N, 3].
        triangles: float64 [F, 3, 3], all wound outwards or all inwards.
    """
    triangles = np.ascontiguousarray(triangles)
    result = np.zeros(len(points), dtype=bool)
    if not len(points) or not len(triangles):
        return result
    low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    candidates = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
    if len(candidates):
        # Meshes and bodies have vertices on common planes: an odd shift keeps rays off edges.
        shifted = np.ascontiguousarray(points[candidates]) + np.array([1.37e-6, -2.11e-6, 1.73e-6])
        result[candidates] = _votes(shifted, triangles) >= 2
    return result


def first_hits(origins: Array, direction: Array, triangles: Array) -> Array:
    """Distance along one direction to the first triangle, float64 [N]; infinity where there is none.

    Args:
        origins: float64 [N, 3].
        direction: float64 [3], of unit length.
        triangles: float64 [F, 3, 3], hit from either side.
    """
    if not len(origins) or not len(triangles):
        return np.full(len(origins), np.inf)
    turn = _frame(np.asarray(direction, dtype=np.float64))
    return _hits(np.ascontiguousarray(origins @ turn), np.ascontiguousarray(triangles @ turn))


def _frame(direction: Array) -> Array:
    """Columns: two perpendicular axes, then the direction."""
    helper = np.eye(3)[np.argmin(np.abs(direction))]
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(direction, first), direction], axis=1)


def _overlapping(triangles: Array, low: Array, high: Array) -> NDArray[np.bool_]:
    return np.asarray(((triangles.min(axis=1) <= high) & (triangles.max(axis=1) >= low)).all(axis=1))


@compiled
def _squared_distance(p: Array, a: Array, b: Array, c: Array) -> float:
    """Squared distance from a point to a triangle (Ericson, Real-Time Collision Detection, 5.1.5)."""
    ab0, ab1, ab2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    ac0, ac1, ac2 = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    ap0, ap1, ap2 = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1 = ab0 * ap0 + ab1 * ap1 + ab2 * ap2
    d2 = ac0 * ap0 + ac1 * ap1 + ac2 * ap2
    v, w = 0.0, 0.0
    if not (d1 <= 0.0 and d2 <= 0.0):
        bp0, bp1, bp2 = p[0] - b[0], p[1] - b[1], p[2] - b[2]
        d3 = ab0 * bp0 + ab1 * bp1 + ab2 * bp2
        d4 = ac0 * bp0 + ac1 * bp1 + ac2 * bp2
        cp0, cp1, cp2 = p[0] - c[0], p[1] - c[1], p[2] - c[2]
        d5 = ab0 * cp0 + ab1 * cp1 + ab2 * cp2
        d6 = ac0 * cp0 + ac1 * cp1 + ac2 * cp2
        vc = d1 * d4 - d3 * d2
        vb = d5 * d2 - d1 * d6
        va = d3 * d6 - d5 * d4
        if d3 >= 0.0 and d4 <= d3:
            v = 1.0
        elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
            v = d1 / (d1 - d3) if d1 != d3 else 0.0
        elif d6 >= 0.0 and d5 <= d6:
            w = 1.0
        elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
            w = d2 / (d2 - d6) if d2 != d6 else 0.0
        elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
            total = (d4 - d3) + (d5 - d6)
            w = (d4 - d3) / total if total != 0.0 else 0.0
            v = 1.0 - w
        else:
            total = va + vb + vc
            if total != 0.0:
                v, w = vb / total, vc / total
    x = ap0 - v * ab0 - w * ac0
    y = ap1 - v * ab1 - w * ac1
    z = ap2 - v * ab2 - w * ac2
    return float(x * x + y * y + z * z)


@compiled
def _distances(points: Array, triangles: Array, low: Array, high: Array, reach: float) -> Array:
    out = np.empty(len(points))
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        best, radius = reach * reach, reach
        found = False
        for f in range(len(triangles)):
            if (
                x < low[f, 0] - radius
                or x > high[f, 0] + radius
                or y < low[f, 1] - radius
                or y > high[f, 1] + radius
                or z < low[f, 2] - radius
                or z > high[f, 2] + radius
            ):
                continue
            squared = _squared_distance(points[n], triangles[f, 0], triangles[f, 1], triangles[f, 2])
            if squared < best:
                best, found = squared, True
                radius = np.sqrt(best)
        out[n] = np.sqrt(best) if found else np.inf
    return out


@compiled
def _votes(points: Array, triangles: Array) -> NDArray[np.int64]:
    """For each point, along how many of the three axes the triangles ahead wind around it."""
    votes = np.zeros(len(points), dtype=np.int64)
    for n in range(len(points)):
        for axis in range(3):
            one, two = (axis + 1) % 3, (axis + 2) % 3
            px, py, pz = points[n, one], points[n, two], points[n, axis]
            winding = 0
            for f in range(len(triangles)):
                depth = _ahead(px, py, triangles[f], one, two, axis)
                if depth > pz:
                    ux, uy = triangles[f, 1, one] - triangles[f, 0, one], triangles[f, 1, two] - triangles[f, 0, two]
                    vx, vy = triangles[f, 2, one] - triangles[f, 0, one], triangles[f, 2, two] - triangles[f, 0, two]
                    winding += 1 if ux * vy - uy * vx > 0.0 else -1
            if winding != 0:
                votes[n] += 1
    return votes


@compiled
def _ahead(px: float, py: float, triangle: Array, one: int, two: int, axis: int) -> float:
    """Coordinate `axis` where the line through (px, py) crosses the triangle; minus infinity where it does not."""
    ax, ay = triangle[0, one] - px, triangle[0, two] - py
    bx, by = triangle[1, one] - px, triangle[1, two] - py
    cx, cy = triangle[2, one] - px, triangle[2, two] - py
    if (ay > 0.0) == (by > 0.0) and (by > 0.0) == (cy > 0.0):
        return -np.inf
    u = bx * cy - by * cx
    v = cx * ay - cy * ax
    w = ax * by - ay * bx
    if (u < 0.0 or v < 0.0 or w < 0.0) and (u > 0.0 or v > 0.0 or w > 0.0):
        return -np.inf
    total = u + v + w
    if total == 0.0:
        return -np.inf
    return float((u * triangle[0, axis] + v * triangle[1, axis] + w * triangle[2, axis]) / total)


@compiled
def _hits(points: Array, triangles: Array) -> Array:
    out = np.full(len(points), np.inf)
    for n in range(len(points)):
        for f in range(len(triangles)):
            depth = _ahead(points[n, 0], points[n, 1], triangles[f], 0, 1, 2)
            if depth >= points[n, 2]:
                out[n] = min(out[n], depth - points[n, 2])
    return out
