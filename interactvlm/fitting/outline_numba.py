"""`outline.find_outlines` as a compiled loop over poses, for the CPU: several times as fast there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.fitting.outline import TOLERANCE, Outlines
from interactvlm.fitting.packed import PackedMeshes
from interactvlm.geometry.compiled import compiled, run_bands

__all__ = ["find_outlines_compiled"]


def find_outlines_compiled(meshes: PackedMeshes, screen: Tensor, seen: Tensor, scenes: int, side: int) -> Outlines:
    """See `outline.find_outlines`; tensors on the CPU."""
    starts = len(screen)
    covered = np.zeros((scenes, starts, side, side), dtype=np.bool_)
    passing = np.full((scenes, starts, 2, side, side), -1, dtype=np.int32)
    places, visible = screen.double().contiguous().numpy(), seen.contiguous().numpy()
    faces, edges, opposite = (values.numpy() for values in (meshes.faces, meshes.edges, meshes.opposite))
    # Scenes lie one after the other.
    first_face, first_edge = (
        np.searchsorted(of.numpy(), np.arange(scenes + 1)) for of in (meshes.face_scene, meshes.edge_scene)
    )

    def some(_view: int, first: int, stop: int) -> None:
        for pose in range(first, stop):
            scene, start = divmod(pose, starts)
            own_faces = faces[first_face[scene] : first_face[scene + 1]]
            low, high = int(first_edge[scene]), int(first_edge[scene + 1])
            _fill(places[start], visible[start], own_faces, TOLERANCE, covered[scene, start])
            _walk(
                places[start], visible[start], edges[low:high], opposite[low:high], low,
                covered[scene, start], passing[scene, start],
            )  # fmt: skip

    run_bands(some, 1, scenes * starts)
    return Outlines(torch.from_numpy(covered), torch.from_numpy(passing))


@compiled
def _fill(
    places: NDArray[np.float64],
    visible: NDArray[np.bool_],
    faces: NDArray[np.int64],
    tolerance: float,
    covered: NDArray[np.bool_],
) -> None:
    side = len(covered)
    for face in range(len(faces)):
        a, b, c = faces[face]
        if not (visible[a] and visible[b] and visible[c]):
            continue
        ya, yb, yc = places[a, 1], places[b, 1], places[c, 1]
        first = int(np.ceil(min(max(min(ya, yb, yc) - 0.5, 0.0), side)))
        last = int(np.floor(max(min(max(ya, yb, yc) - 0.5, side - 1.0), -1.0)))
        for row in range(first, last + 1):
            y = row + 0.5
            left, right = np.inf, -np.inf
            for i in range(3):
                p, q = faces[face, i], faces[face, (i + 1) % 3]
                if (places[p, 1] <= y) != (places[q, 1] <= y):
                    rise = places[q, 1] - places[p, 1]
                    x = places[p, 0] + (y - places[p, 1]) * ((places[q, 0] - places[p, 0]) / rise)
                    left, right = min(left, x), max(right, x)
            begin = int(np.ceil(min(max(left - 0.5 - tolerance, 0.0), side)))
            end = int(np.floor(max(min(right - 0.5 + tolerance, side - 1.0), -1.0)))
            for column in range(begin, end + 1):
                covered[row, column] = True


@compiled
def _walk(
    places: NDArray[np.float64],
    visible: NDArray[np.bool_],
    edges: NDArray[np.int64],
    opposite: NDArray[np.int64],
    offset: int,
    covered: NDArray[np.bool_],
    passing: NDArray[np.int32],
) -> None:
    side = len(covered)
    farthest = np.full((2, side, side), -np.inf)
    for edge in range(len(edges)):
        p, q = edges[edge]
        if not (visible[p] and visible[q]):
            continue
        third, fourth = opposite[edge]
        dx, dy = places[q, 0] - places[p, 0], places[q, 1] - places[p, 1]
        if fourth >= 0:
            one = dx * (places[third, 1] - places[p, 1]) - dy * (places[third, 0] - places[p, 0])
            other = dx * (places[fourth, 1] - places[p, 1]) - dy * (places[fourth, 0] - places[p, 0])
            if one * other <= 0.0:
                continue
        upright = abs(dy) >= abs(dx)
        # u runs along the edge, neighbours lie along v.
        u, v, axis = (1, 0, 0) if upright else (0, 1, 1)
        low, high = min(places[p, u], places[q, u]), max(places[p, u], places[q, u])
        first = int(np.ceil(min(max(low - 0.5, 0.0), side)))
        last = int(np.floor(max(min(high - 0.5, side - 1.0), -1.0)))
        if first > last:
            continue
        slope = (places[q, v] - places[p, v]) / (places[q, u] - places[p, u])
        surface_before = places[third, v] < places[p, v] + (places[third, u] - places[p, u]) * slope
        for line in range(first, last + 1):
            across = places[p, v] + (line + 0.5 - places[p, u]) * slope
            if not 0.5 <= across < side - 0.5:
                continue
            before = int(np.floor(across - 0.5))
            row, column = (line, before) if upright else (before, line)
            here = covered[row, column]
            there = covered[row, column + 1] if upright else covered[row + 1, column]
            if here == there or (fourth >= 0 and surface_before != here):
                continue
            reach = across if here else -across
            if reach >= farthest[axis, row, column]:
                farthest[axis, row, column] = reach
                passing[axis, row, column] = offset + edge
