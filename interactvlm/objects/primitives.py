"""Closed pieces to build objects from: boxes, prisms, turned and swept bodies, each one watertight surface.

Metres, +y up, +z the object's front, +x the left of whoever looks along +z. Pieces may run into one another: the union
of closed pieces still tells inside from outside by its winding number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interactvlm.objects.palette import Colour

__all__ = ["Array", "Part", "box", "ellipsoid", "lathe", "loft", "oval", "prism", "rectangle", "rod", "tube"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One closed surface of one colour.

    Attributes:
        vertices: float64 [N, 3].
        faces: int64 [M, 3], wound outwards.
        colour: RGB in [0, 1].
    """

    vertices: Array
    faces: NDArray[np.int64]
    colour: Colour

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
        """This part elsewhere."""
        return replace(self, vertices=self.vertices + np.array([x, y, z]))

    def turned(self, axis: str, degrees: float) -> Part:
        """This part turned about the x, y or z axis through the origin, counter-clockwise seen from its tip."""
        first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        vertices = self.vertices.copy()
        vertices[:, first] = cosine * self.vertices[:, first] - sine * self.vertices[:, second]
        vertices[:, second] = sine * self.vertices[:, first] + cosine * self.vertices[:, second]
        return replace(self, vertices=vertices)

    def mirrored(self) -> Part:
        """This part on the other side of the x = 0 plane."""
        return replace(self, vertices=self.vertices * [-1, 1, 1], faces=self.faces[:, ::-1])


def loft(rings: Array, colour: Colour, *, start: Array | None = None, end: Array | None = None) -> Part:
    """The surface through rings of equally many points, closed by a fan at either end.

    Args:
        rings: [M, K, 3], M >= 2, K >= 3.
        colour: RGB in [0, 1].
        start: tip of the fan before the first ring, [3]; None: the ring's mean.
        end: tip of the fan after the last ring, [3]; None: the ring's mean.
    """
    count, size = rings.shape[:2]
    first = rings[0].mean(axis=0) if start is None else start
    last = rings[-1].mean(axis=0) if end is None else end
    vertices = np.concatenate([rings.reshape(-1, 3), [first, last]])
    around = np.arange(size)
    following = (around + 1) % size
    faces = [np.stack([np.full(size, count * size), following, around], axis=1)]
    for ring in range(count - 1):
        low, high = ring * size, (ring + 1) * size
        faces.append(np.stack([low + around, low + following, high + following], axis=1))
        faces.append(np.stack([low + around, high + following, high + around], axis=1))
    top = (count - 1) * size
    faces.append(np.stack([np.full(size, count * size + 1), top + around, top + following], axis=1))
    return _outwards(vertices, np.concatenate(faces), colour)


def prism(outline: Array, height: float, colour: Colour, *, bevel: float = 0.0) -> Part:
    """An upright prism from y = 0 to `height` over an outline in x and z that its middle sees whole.

    Args:
        outline: [K, 2].
        height: metres.
        colour: RGB in [0, 1].
        bevel: metres cut off the edges of both ends.
    """
    middle = outline.mean(axis=0)
    inset = middle + (outline - middle) * (1 - bevel / max(float(np.abs(outline - middle).max()), 1e-9))
    levels = [(outline, 0.0), (outline, height)]
    if bevel > 0:
        levels = [(inset, 0.0), (outline, bevel), (outline, height - bevel), (inset, height)]
    rings = np.stack([np.stack([ring[:, 0], np.full(len(ring), y), ring[:, 1]], axis=1) for ring, y in levels])
    return loft(rings, colour)


def rectangle(width: float, depth: float, corner: float = 0.0, steps: int = 3) -> Array:
    """A rectangle about the origin with round corners, [K, 2]: x is its width."""
    if corner <= 0:
        return np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]]) * [width / 2, depth / 2]
    corner = min(corner, width / 2 * 0.999, depth / 2 * 0.999)
    arc = np.linspace(0, np.pi / 2, steps + 1)
    quarter = np.stack([np.cos(arc), np.sin(arc)], axis=1) * corner
    corners = []
    for turns, (sx, sz) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        angle = turns * np.pi / 2
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners.append(quarter @ turn + [sx * (width / 2 - corner), sz * (depth / 2 - corner)])
    return np.concatenate(corners)


def oval(width: float, depth: float, sides: int = 16) -> Array:
    """An ellipse about the origin, [sides, 2]."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    return np.stack([np.cos(angle) * width / 2, np.sin(angle) * depth / 2], axis=1)


def box(size: Sequence[float], colour: Colour, *, corner: float = 0.0, bevel: float = 0.0) -> Part:
    """A box standing on y = 0 around the y axis; `corner` rounds its upright edges, `bevel` cuts the others."""
    width, height, depth = size
    return prism(rectangle(width, depth, corner), height, colour, bevel=bevel)


def lathe(profile: Sequence[tuple[float, float]], colour: Colour, *, sides: int = 16) -> Part:
    """A body turned about the y axis.

    Args:
        profile: (radius, height) from the axis or near it outwards and back; the ends are closed on the axis.
        colour: RGB in [0, 1].
        sides: corners of each ring.
    """
    points = np.array(profile, dtype=np.float64)
    first, last = np.array([0, points[0, 1], 0]), np.array([0, points[-1, 1], 0])
    points = points[points[:, 0] > 1e-6]
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rings = np.empty((len(points), sides, 3))
    rings[..., 0] = points[:, :1] * np.cos(angle)
    rings[..., 1] = points[:, 1:]
    rings[..., 2] = points[:, :1] * np.sin(angle)
    return loft(rings, colour, start=first, end=last)


def ellipsoid(radii: Sequence[float], colour: Colour, *, sides: int = 16) -> Part:
    """An ellipsoid about the origin with half-axes [3]."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, max(sides // 2, 4) + 1)
    ball = lathe([(float(np.cos(a)), float(np.sin(a))) for a in angle], colour, sides=sides)
    return replace(ball, vertices=ball.vertices * np.asarray(radii, dtype=np.float64))


def rod(
    start: Sequence[float] | Array, end: Sequence[float] | Array, radius: float | tuple[float, float], colour: Colour
) -> Part:
    """A straight round rod, tapering where two radii are given."""
    ends = radius if isinstance(radius, tuple) else (radius, radius)
    return tube(np.array([start, end], dtype=np.float64), ends, colour, sides=8)


def tube(
    path: Array,
    radius: float | Sequence[float] | Array,
    colour: Colour,
    *,
    sides: int = 8,
    closed: bool = False,
    flat: float = 1.0,
    across: Sequence[float] = (0.0, 1.0, 0.0),
) -> Part:
    """A tube along a path.

    Args:
        path: [K, 3], K >= 2 (>= 3 where closed), no point twice in a row.
        radius: of the tube, one or one a point.
        colour: RGB in [0, 1].
        sides: corners of its cross-section.
        closed: the last point joins the first (a ring).
        flat: the cross-section's half-width in the direction `across`, in radii: under 1 makes a band.
        across: the direction that `flat` squeezes; any direction not along the path.
    """
    radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(path))
    tangent = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0) if closed else np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    reference = np.asarray(across, dtype=np.float64)
    if float(np.abs(tangent @ reference).max()) > 0.95:  # some of the path runs along it: take the least used axis
        reference = np.eye(3)[int(np.abs(tangent).max(axis=0).argmin())]
    up = reference - (tangent @ reference)[:, None] * tangent
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    side = np.cross(tangent, up)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[:, None] * side[:, None] + flat * np.sin(angle)[:, None] * up[:, None]
    rings = path[:, None] + radii[:, None, None] * ring
    if not closed:
        return loft(rings, colour)
    count, around = len(path), np.arange(sides)
    following = (around + 1) % sides
    faces = []
    for index in range(count):
        low, high = index * sides, (index + 1) % count * sides
        faces.append(np.stack([low + around, low + following, high + following], axis=1))
        faces.append(np.stack([low + around, high + following, high + around], axis=1))
    return _outwards(rings.reshape(-1, 3), np.concatenate(faces), colour)


def _outwards(vertices: Array, faces: NDArray[np.int64], colour: Colour) -> Part:
    corners = (vertices - vertices.mean(axis=0))[faces]
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return Part(vertices, faces if volume > 0 else faces[:, ::-1], colour)
