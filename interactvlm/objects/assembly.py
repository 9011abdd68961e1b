"""Putting parts and anchors together into an object: even triangles, a common frame, rounded numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.mesh import Mesh
from interactvlm.objects.anchors import ANCHOR_NAMES, Anchor, ObjectModel
from interactvlm.objects.primitives import Array, Part

__all__ = ["FACE_TARGET", "Shape", "refined"]

#: Long edges are split until a mesh has this many faces.
FACE_TARGET = 2000

#: Edges shorter than this share of the largest extent are left whole.
_FINE_ENOUGH = 1 / 40
#: Decimals of metres: what two machines' sines may differ by is rounded away, so that content hashes agree.
_DECIMALS = 5

Vector = Sequence[float] | Array


class Shape:
    """Parts and anchors of an object under construction, in any frame with +y up and +z to the front."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._anchors: dict[str, tuple[Array, Array, Array, float]] = {}

    def add(self, *parts: Part) -> None:
        """Add closed parts."""
        self.parts.extend(parts)

    def anchor(self, name: str, position: Vector, normal: Vector, direction: Vector, radius: float) -> None:
        """Add an anchor on the surface; `direction` is made orthogonal to `normal`, both of length 1."""
        if name not in ANCHOR_NAMES:
            raise ValueError(f"{name!r} is no anchor name")
        out = np.array(normal, dtype=np.float64)
        out /= np.linalg.norm(out)
        along = np.array(direction, dtype=np.float64)
        along -= (along @ out) * out
        if float(np.linalg.norm(along)) < 1e-6:
            raise ValueError(f"{name}: the direction runs along the normal")
        along /= np.linalg.norm(along)
        self._anchors[name] = (np.array(position, dtype=np.float64), out, along, float(radius))

    def grip(self, name: str, axis: Vector, normal: Vector, direction: Vector, radius: float) -> None:
        """Add an anchor on a round handle, given a point on its axis."""
        out = np.array(normal, dtype=np.float64)
        along = np.array(direction, dtype=np.float64)
        along /= np.linalg.norm(along)
        out -= (out @ along) * along
        out /= np.linalg.norm(out)
        self.anchor(name, np.asarray(axis) + radius * out, out, along, radius)

    def model(self, category: str, source: str) -> ObjectModel:
        """The finished object: one mesh of even triangles, origin at the centre of its bounding box's floor."""
        counts = np.cumsum([0, *(len(part.vertices) for part in self.parts)])
        vertices = np.concatenate([part.vertices for part in self.parts])
        faces = np.concatenate([part.faces + start for part, start in zip(self.parts, counts, strict=False)])
        colours = np.concatenate([np.tile(part.colour, (len(part.vertices), 1)) for part in self.parts])
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        origin = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
        vertices, faces, colours = refined(vertices - origin, faces, colours)
        mesh = Mesh(
            np.round(vertices, _DECIMALS).astype(np.float32),
            faces.astype(np.int32),
            np.round(colours * 255).clip(0, 255).astype(np.uint8),
        )
        anchors = {
            name: Anchor(np.round(position - origin, _DECIMALS), normal, direction, radius)
            for name, (position, normal, direction, radius) in self._anchors.items()
        }
        return ObjectModel(source, category, mesh, anchors)


def refined(
    vertices: Array, faces: NDArray[np.int64], colours: Array, target: int = FACE_TARGET
) -> tuple[Array, NDArray[np.int64], Array]:
    """Split the longest edges in the middle until the mesh has `target` faces or all edges are short.

    A face's edges are split on both of their sides at once, so what was closed stays closed. Every place that a person
    may touch thereby gets vertices to carry the label.

    Args:
        vertices: [N, 3].
        faces: [M, 3].
        colours: [N, 3].
        target: most faces to make.
    """
    enough = float(np.ptp(vertices, axis=0).max()) * _FINE_ENOUGH
    while True:
        sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        keys = sides[:, 0] * len(vertices) + sides[:, 1]
        unique, edge_of_side = np.unique(keys, return_inverse=True)
        ends = np.stack([unique // len(vertices), unique % len(vertices)], axis=1)
        lengths = np.round(np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1), 9)
        budget = (target - len(faces)) // 2
        limit = max(float(lengths.max()) * 0.6, enough)
        chosen = np.argsort(-lengths, kind="stable")[: max(budget, 0)]
        chosen = chosen[lengths[chosen] > limit]
        if len(chosen) == 0:
            return vertices, faces, colours
        middle = np.full(len(unique), -1)
        middle[chosen] = len(vertices) + np.arange(len(chosen))
        vertices = np.concatenate([vertices, vertices[ends[chosen]].mean(axis=1)])
        colours = np.concatenate([colours, colours[ends[chosen]].mean(axis=1)])
        faces = _split(faces, middle[edge_of_side].reshape(-1, 3))


def _split(faces: NDArray[np.int64], middle: NDArray[np.int64]) -> NDArray[np.int64]:
    """Faces after their edges (0-1, 1-2, 2-0) got the middle points named, -1 where an edge stays whole."""
    cut = middle >= 0
    number = cut.sum(axis=1)
    # Turn each face so that its pattern starts the same way: one cut: edge 0-1; two cuts: the whole edge last.
    turn = np.where(number == 1, cut.argmax(axis=1), np.where(number == 2, ((~cut).argmax(axis=1) + 1) % 3, 0))
    order = (turn[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(faces, order, axis=1).T
    ab, bc, ca = np.take_along_axis(middle, order, axis=1).T
    one, two, three = number == 1, number == 2, number == 3

    def rows(which: NDArray[np.bool_], *corners: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.stack([corner[which] for corner in corners], axis=1)

    return np.concatenate(
        [
            faces[number == 0],
            *(rows(one, a, ab, c), rows(one, ab, b, c)),
            *(rows(two, ab, b, bc), rows(two, a, ab, bc), rows(two, a, bc, c)),
            *(rows(three, a, ab, ca), rows(three, ab, b, bc), rows(three, ca, bc, c), rows(three, ab, bc, ca)),
        ]
    )
