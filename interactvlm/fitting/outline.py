"""Which pixels posed meshes cover, and which edge passes between two neighbouring pixels; constants, no gradient.

Legend: S scenes, K starts, N vertices, E edges, R side of the square images, M (start, face or edge, row) triples.
Pixels: x right, y down, the centre of pixel (row i, column j) at (j + 0.5, i + 0.5).

`find_outlines` is plain torch, for any device; on the CPU a compiled loop (`outline_numba`) does the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interactvlm.fitting.packed import PackedMeshes

__all__ = ["TOLERANCE", "Outlines", "find_outlines"]

TOLERANCE = 1e-5
"""Pixels by which spans are widened, so that rounding opens no crack between neighbouring faces."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The silhouettes at pixel centres, and what bounds them.

    Attributes:
        covered: bool [S, K, R, R], whether a face covers the pixel's centre.
        edge: int32 [S, K, 2, R, R], the mesh edge that passes between a pixel and its right (0) or lower (1)
            neighbour, -1 where none does. Only where one of the two is covered; of several, the one nearest to the
            other. Mostly vertical edges pass between horizontal neighbours, the rest between vertical ones.
    """

    covered: Tensor
    edge: Tensor


def find_outlines(meshes: PackedMeshes, screen: Tensor, seen: Tensor, scenes: int, side: int) -> Outlines:
    """Fill the faces' spans, then walk the edges that have the surface on one side only.

    Args:
        meshes: of S scenes.
        screen: float [K, N, 2], pixels.
        seen: bool [K, N], which vertices are in front of the camera; faces and edges with another are left out.
        scenes: S.
        side: R.
    """
    covered = _coverage(meshes, screen, seen, scenes, side)
    return Outlines(covered, _passing(meshes, screen, seen, covered))


def _coverage(meshes: PackedMeshes, screen: Tensor, seen: Tensor, scenes: int, side: int) -> Tensor:
    starts = len(screen)
    corners = [screen[:, meshes.faces[:, i]] for i in range(3)]
    ys = torch.stack([corner[..., 1] for corner in corners])
    whole = seen[:, meshes.faces].all(-1)
    start, face, y, row = _rows(ys.amin(0), ys.amax(0), whole, side)
    left = torch.full_like(y, torch.inf)
    right = torch.full_like(y, -torch.inf)
    points = [corner[start, face] for corner in corners]
    for a, b in ((0, 1), (1, 2), (2, 0)):
        (xa, ya), (xb, yb) = points[a].unbind(-1), points[b].unbind(-1)
        crossed = (ya <= y) != (yb <= y)
        x = xa + (y - ya) * ((xb - xa) / torch.where(crossed, yb - ya, 1))
        left = torch.where(crossed, torch.minimum(left, x), left)
        right = torch.where(crossed, torch.maximum(right, x), right)
    begin = (left - 0.5 - TOLERANCE).ceil().clamp(0, side)
    end = ((right - 0.5 + TOLERANCE).floor() + 1).clamp(0, side)
    spans = end > begin
    line = ((meshes.face_scene[face] * starts + start) * side + row)[spans] * (side + 1)
    change = torch.zeros(scenes * starts * side * (side + 1), dtype=torch.int32, device=screen.device)
    ones = torch.ones_like(line, dtype=torch.int32)
    change.index_add_(0, line + begin[spans].long(), ones)
    change.index_add_(0, line + end[spans].long(), -ones)
    return change.reshape(scenes, starts, side, side + 1).cumsum(-1)[..., :-1] > 0


def _passing(meshes: PackedMeshes, screen: Tensor, seen: Tensor, covered: Tensor) -> Tensor:
    starts, side = covered.shape[1], covered.shape[-1]
    start, edge = _one_sided(meshes, screen, seen).nonzero(as_tuple=True)
    a, b = screen[start, meshes.edges[edge, 0]], screen[start, meshes.edges[edge, 1]]
    third = screen[start, meshes.opposite[edge, 0]]
    upright = (b - a)[:, 1].abs() >= (b - a)[:, 0].abs()
    # Turned so that the first coordinate runs along the edge, and neighbours lie along the second.
    a, b, third = (torch.where(upright[:, None], p.flip(-1), p) for p in (a, b, third))
    low, high = torch.minimum(a[:, 0], b[:, 0]), torch.maximum(a[:, 0], b[:, 0])
    _, which, line, row = _rows(low[None], high[None], torch.ones_like(upright)[None], side)
    a, b, third, upright, start, edge = (values[which] for values in (a, b, third, upright, start, edge))
    slope = (b - a)[:, 1] / (b - a)[:, 0]
    across = a[:, 1] + (line - a[:, 0]) * slope
    before = (across - 0.5).floor()
    inside = (before >= 0) & (before < side - 1)
    before = torch.where(inside, before, 0).long()
    image = meshes.edge_scene[edge] * starts + start
    pixel = torch.where(upright, row * side + before, before * side + row)
    flat = covered.flatten()
    first = flat[image * side**2 + pixel]
    second = flat[image * side**2 + pixel + torch.where(upright, 1, side)]
    surface_before = third[:, 1] < a[:, 1] + (third[:, 0] - a[:, 0]) * slope
    fits = (meshes.opposite[edge, 1] < 0) | (surface_before == first)
    keep = inside & (first != second) & fits
    outwards = torch.where(first, across, -across)[keep]
    slot = ((image * 2 + torch.where(upright, 0, 1)) * side**2 + pixel)[keep]
    return _largest(slot, outwards, edge[keep], 2 * covered.numel()).reshape(-1, starts, 2, side, side)


def _one_sided(meshes: PackedMeshes, screen: Tensor, seen: Tensor) -> Tensor:
    """Which edges have the surface on one side only, bool [K, E]: both faces lie on the same side of the edge."""
    a, b = screen[:, meshes.edges[:, 0]], screen[:, meshes.edges[:, 1]]
    along = b - a
    one, other = (screen[:, meshes.opposite[:, i]] - a for i in range(2))
    product = _cross(along, one) * _cross(along, other)
    return seen[:, meshes.edges].all(-1) & ((meshes.opposite[:, 1] < 0) | (product > 0))


def _rows(low: Tensor, high: Tensor, usable: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every row of pixel centres from `low` to `high` [A, B]: index into A, index into B, the centre's y, the row."""
    first = (low - 0.5).ceil().clamp(0, side)
    count = ((high - 0.5).floor().clamp(-1, side - 1) - first + 1).clamp(min=0).long() * usable
    one, other = count.nonzero(as_tuple=True)
    count = count[one, other]
    item = torch.repeat_interleave(count)
    step = torch.arange(len(item), device=low.device) - (count.cumsum(0) - count)[item]
    one, other = one[item], other[item]
    row = first[one, other].long() + step
    return one, other, row.to(low.dtype) + 0.5, row


def _largest(slot: Tensor, value: Tensor, index: Tensor, slots: int) -> Tensor:
    """The index that comes with the largest value in each slot, the greatest of equal ones; -1 in empty slots."""
    largest = torch.full((slots,), -torch.inf, dtype=value.dtype, device=value.device)
    largest.scatter_reduce_(0, slot, value, "amax")
    best = value == largest[slot]
    winner = torch.full((slots,), -1, dtype=torch.int32, device=value.device)
    return winner.scatter_reduce_(0, slot[best], index[best].int(), "amax")


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
