"""Where people meet a catalogue model, read off its geometry: what rays from above, the sides and the front hit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy import ndimage
from trimesh.ray.ray_pyembree import RayMeshIntersector

__all__ = ["KINDS", "Anchors", "anchors_of"]

Array = NDArray[np.float64]
#: name -> [position, normal, direction, radius]
Anchors = dict[str, list[object]]

UP, FRONT, LEFT = np.array([0.0, 1, 0]), np.array([0.0, 0, 1]), np.array([1.0, 0, 0])
CELL = 60
"""Cells of the height map along the longer side."""


class Solid:
    """A mesh that rays are shot at; its box stands on y = 0 around the y axis."""

    def __init__(self, vertices: Array, faces: NDArray[np.int64]) -> None:
        self.vertices = vertices
        self.size = np.ptp(vertices, axis=0)
        self.faces = faces
        self._rays = RayMeshIntersector(trimesh.Trimesh(vertices, faces, process=False))
        self.found: Anchors = {}

    def hits(self, origins: Array, direction: Array) -> Array:
        """First hit of each ray, [N, 3], NaN where there is none."""
        points, rays, _ = self._rays.intersects_location(
            origins, np.tile(direction, (len(origins), 1)), multiple_hits=False
        )
        result = np.full((len(origins), 3), np.nan)
        result[rays] = points
        return result

    def outside(self, at: Array, normal: Array, spread: float = 0.0) -> Array | None:
        """The surface seen from outside along -normal at a point; where that is empty, the nearest within `spread`."""
        across = np.cross(normal, UP if abs(normal[1]) < 0.5 else LEFT)
        other = np.cross(normal, across)
        steps = np.linspace(-spread, spread, 9) if spread else np.zeros(1)
        grid = np.array([a * across + b * other for a in steps for b in steps])
        grid = grid[np.argsort(np.linalg.norm(grid, axis=1), kind="stable")]
        hit = self.hits(at + grid + 3 * float(self.size.max()) * normal, -normal)
        good = np.flatnonzero(~np.isnan(hit[:, 0]))
        return hit[good[0]] if len(good) else None

    def put(self, name: str, position: Array | None, normal: Array, direction: Array, radius: float) -> None:
        """Record an anchor, unless there was no surface."""
        if position is not None:
            rounded = [[round(float(value), 4) + 0.0 for value in vector] for vector in (position, normal, direction)]
            self.found[name] = [*rounded, round(float(radius), 4)]

    def heights(self) -> tuple[Array, Array, Array, float]:
        """What is seen from above: x [A], z [B], height [A, B] (NaN outside) and the cell's side."""
        cell = float(max(self.size[0], self.size[2])) / CELL
        xs = np.arange(-self.size[0] / 2 + cell / 2, self.size[0] / 2, cell)
        zs = np.arange(-self.size[2] / 2 + cell / 2, self.size[2] / 2, cell)
        grid = np.stack(np.meshgrid(xs, [self.size[1] + 1], zs, indexing="ij"), axis=-1).reshape(-1, 3)
        return xs, zs, self.hits(grid, -UP)[:, 1].reshape(len(xs), len(zs)), cell

    def plateau(self, low: float, high: float, tolerance: float = 0.04) -> tuple[Array, float] | None:
        """Middle and free radius of the largest level surface, seen from above, between two heights."""
        xs, zs, height, cell = self.heights()
        wanted = (height > low) & (height < high)
        if not wanted.any():
            return None
        levels = np.arange(low, high, 0.01)
        counts = [int((np.abs(height - level) < tolerance).sum()) for level in levels]
        # The highest of the levels that hold nearly the most: cushions bulge.
        level = levels[np.flatnonzero(np.array(counts) >= 0.98 * max(counts))[-1]]
        labels, _ = ndimage.label(np.abs(height - level) < tolerance)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        patch = np.pad(labels == sizes.argmax(), 1)
        free = ndimage.distance_transform_edt(patch)[1:-1, 1:-1] * cell
        x, z = np.meshgrid(xs, zs, indexing="ij")
        inside = patch[1:-1, 1:-1]
        middle = np.array([x[inside].mean(), z[inside].mean()])
        # As free as possible, then as central as possible.
        score = free - 0.3 * np.hypot(x - middle[0], z - middle[1])
        best = np.unravel_index(np.where(inside, score, -np.inf).argmax(), inside.shape)
        return np.array([x[best], height[best], z[best]]), float(free[best])


def _seat(solid: Solid, low: float, high: float) -> None:
    found = solid.plateau(low, high)
    if found is None:
        return
    seat, radius = found
    solid.put("seat", seat, UP, FRONT, radius)
    for rise in (0.3, 0.26, 0.22, 0.34, 0.4, 0.18, 0.14):
        hit = solid.hits(np.array([seat + rise * UP]), -FRONT)[0]
        if not np.isnan(hit[0]) and seat[2] - hit[2] < 0.7:
            solid.put("back", hit, FRONT, UP, min(rise, (solid.size[1] - seat[1]) / 2))
            return


def _chair(solid: Solid) -> None:
    # A bar stool's foot ring lies where a chair's seat does: the wider surface is the seat.
    ranges = ((0.25, 0.62), (0.5, min(0.9, solid.size[1] + 0.01)))
    found = [solid.plateau(low, high) for low, high in ranges]
    widths = [0.0 if patch is None else patch[1] for patch in found]
    _seat(solid, *ranges[int(np.argmax(widths))])


def _bar_or_chair(solid: Solid) -> None:
    _chair(solid)
    if "seat" in solid.found and "back" not in solid.found:
        position, normal, direction, radius = solid.found["seat"]
        solid.found["stand"] = [position, normal, direction, radius]


def _sofa(solid: Solid) -> None:
    _seat(solid, 0.25, 0.6)
    if "seat" in solid.found:
        position, normal, _, radius = solid.found["seat"]
        solid.found["lie"] = [position, normal, LEFT.tolist(), radius]


def _bed(solid: Solid) -> None:
    found = solid.plateau(0.2, min(0.9, solid.size[1] + 0.01), 0.06)
    if found is not None:
        solid.put("lie", found[0], UP, -FRONT, found[1])
        edge = np.array([solid.size[0] / 2 - 0.2, 0, found[0][2] + 0.2])
        solid.put("seat", solid.outside(edge, UP), UP, LEFT, 0.2)


def _bench(solid: Solid) -> None:
    _seat(solid, 0.3, solid.size[1] + 0.01)
    if "seat" in solid.found:
        position, normal, direction, radius = solid.found["seat"]
        if solid.size[0] > 1.4:
            solid.found["lie"] = [position, normal, LEFT.tolist(), radius]
        solid.found["stand"] = [position, normal, direction, radius]


def _lounger(solid: Solid) -> None:
    solid.put("lie", solid.outside(np.zeros(3), UP, 0.1), UP, -FRONT, 0.4 * float(solid.size[0]))
    if solid.size[2] < 1.5:
        _seat(solid, 0.2, 0.5)


def _table(solid: Solid) -> None:
    found = solid.plateau(0.3, solid.size[1] + 0.01)
    if found is None:
        return
    middle, radius = found
    # Where a person at the front side works: a hand's length from the edge.
    reach = solid.outside(np.array([middle[0], 0, min(middle[2] + radius, solid.size[2] / 2) - 0.15]), UP)
    solid.put("top", reach if reach is not None and abs(reach[1] - middle[1]) < 0.05 else middle, UP, -FRONT, radius)
    solid.put("stand", middle, UP, FRONT, radius)
    _push(solid, float(middle[1]) - 0.01)


def _push(solid: Solid, height: float) -> None:
    half = float(solid.size[0]) / 2
    solid.put("push", solid.outside(np.array([0, height, 0]), FRONT, min(0.3, half, height * 0.9)), FRONT, UP, half)


def _front(solid: Solid) -> None:
    _push(solid, min(1.1, 0.6 * float(solid.size[1])))
    if 0.5 < solid.size[1] < 1.3:
        found = solid.plateau(0.5 * float(solid.size[1]), float(solid.size[1]) + 0.01)
        if found is not None:
            solid.put("top", found[0], UP, -FRONT, found[1])


def _sides(solid: Solid, share: float = 0.5) -> None:
    height = share * float(solid.size[1])
    for name, normal in (("grip_left", LEFT), ("grip_right", -LEFT)):
        hit = solid.outside(np.array([0, height, 0]), normal, 0.4 * float(min(solid.size[1], solid.size[2])))
        solid.put(name, hit, normal, FRONT, min(float(solid.size[2]) / 2, 0.2))


def _crate(solid: Solid) -> None:
    found = solid.plateau(0.0, float(solid.size[1]) + 0.01)
    if found is not None:
        for name in ("top", "stand", "seat"):
            solid.put(name, found[0], UP, FRONT, found[1])
    _sides(solid, 0.4)
    _push(solid, 0.7 * float(solid.size[1]))


def _vessel(solid: Solid) -> None:
    height = float(solid.size[1])
    hit = solid.outside(np.array([0, height * 0.45, 0]), FRONT, height * 0.3)
    radius = float(hit[2]) if hit is not None and hit[2] > 0.004 else float(solid.size[2]) / 2
    solid.put("grip", hit, FRONT, UP, radius)
    top = solid.outside(np.array([0, 0, 0]), UP)
    if top is None or top[1] < 0.85 * height:
        rim = solid.vertices[solid.vertices[:, 1] > 0.97 * height]
        top = rim[rim[:, 2].argmax()]
    solid.put("rim", top, UP, FRONT, 0.01)


def _held(solid: Solid) -> None:
    long = LEFT if solid.size[0] > solid.size[2] else FRONT
    spread = 0.4 * float(min(solid.size[0], solid.size[2]))
    solid.put("grip", solid.outside(np.zeros(3), UP, spread), UP, long, min(spread, 0.05))


def _case(solid: Solid) -> None:
    xs, zs, height, _ = solid.heights()
    middle = np.abs(xs) < 0.2 * solid.size[0]
    part = np.where(middle[:, None], np.nan_to_num(height, nan=-1.0), -1.0)
    best = np.unravel_index(part.argmax(), part.shape)
    solid.put("grip", np.array([xs[best[0]], part[best], zs[best[1]]]), UP, LEFT, 0.012)
    _sides(solid)


def _phone(solid: Solid) -> None:
    half, length = float(solid.size[0]) / 2, float(solid.size[2])
    for name, z, normal in (("grip", -0.08, -UP), ("ear", 0.38, UP), ("top", -0.1, UP)):
        solid.put(name, solid.outside(np.array([0, 0, z * length]), normal, 0.01), normal, FRONT, half)


def _ball(solid: Solid) -> None:
    radius = float(solid.size[1]) / 2
    centre = np.array([0, radius, 0])
    slope = np.array([0, -0.4, -0.9165])
    for name, normal in (("grip", -UP), ("grip_left", LEFT), ("grip_right", -LEFT), ("kick", slope)):
        along = np.array([0, 0.9165, -0.4]) if name == "kick" else FRONT
        solid.put(name, solid.outside(centre, normal), normal, along, radius)


def _racket(solid: Solid) -> None:
    long = 0 if solid.size[0] > solid.size[2] else 2
    ends = [solid.vertices[sign * solid.vertices[:, long] > 0.35 * solid.size[long]] for sign in (1, -1)]
    widths = [float(np.ptp(end[:, 2 - long])) for end in ends]
    sign = 1 if widths[0] < widths[1] else -1
    axis = np.eye(3)[long]
    for name, share in (("grip", 0.40), ("grip_right", 0.43), ("grip_left", 0.33)):
        hit = solid.outside(axis * sign * share * solid.size[long], UP, 0.02)
        solid.put(name, hit, UP, -sign * axis, 0.015)


#: How people use a thing -> what finds its anchors.
KINDS: dict[str, Callable[[Solid], None]] = {
    "ball": _ball,
    "bed": _bed,
    "bench": _bench,
    "case": _case,
    "chair": _bar_or_chair,
    "crate": _crate,
    "front": _front,
    "held": _held,
    "lounger": _lounger,
    "phone": _phone,
    "racket": _racket,
    "side": _sides,
    "sofa": _sofa,
    "table": _table,
    "vessel": _vessel,
}


def anchors_of(vertices: Array, faces: NDArray[np.int64], kind: str) -> Anchors:
    """The anchors of a model in its final frame; none for kind ""."""
    if not kind:
        return {}
    solid = Solid(vertices, faces)
    KINDS[kind](solid)
    return dict(sorted(solid.found.items()))
