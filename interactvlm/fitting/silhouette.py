"""Silhouettes with antialiased edges, differentiable in the poses, for S scenes x K starts at once.

Coverage at pixel centres is found without a gradient. Where a covered pixel has an uncovered neighbour, the outline
passes between their centres; it crosses the line from one to the other at a distance d in [0, 1] from the covered
centre, and moves that far as the two vertices of its edge move. As in Laine et al. (Modular Primitives for
High-Performance Differentiable Rendering, 2020, section 3.4), the pixel it ends in is blended: the covered one loses
1/2 - d where d < 1/2, the uncovered one gains d - 1/2 elsewhere. Mostly vertical edges count between horizontal
neighbours, the others between vertical ones. The sum over pixels follows the covered area, and the image is
continuous while outlines cross pixel centres; only where a corner does may one pixel jump by a fraction.

What is thinner than a pixel shows only where it covers a centre. Nothing is cut at the camera: faces and edges that
reach behind `NEAR` are left out.

Legend: R side of the square image, N vertices, M pairs of neighbours with an edge between them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.outline import Outlines, find_outlines
from interactvlm.fitting.outline_numba import find_outlines_compiled
from interactvlm.fitting.packed import PackedMeshes
from interactvlm.fitting.poses import Poses

__all__ = ["NEAR", "render_silhouettes"]

NEAR = 0.05
"""Metres in front of the camera from which on surfaces are seen."""


def render_silhouettes(meshes: PackedMeshes, poses: Poses, focal: Tensor, principal: Tensor, side: int) -> Tensor:
    """Silhouettes [S, K, R, R] in [0, 1].

    Args:
        meshes: of S scenes.
        poses: [S, K].
        focal: [S, 2], (x, y) focal lengths, pixels of the image that is drawn.
        principal: [S, 2], (x, y) of the principal points, pixels of that image.
        side: R, pixels.

    Raises:
        InputError: when the number of scenes differs or `side` is below 2.
    """
    if side < 2:
        raise InputError("side", f"is {side} pixels, at least 2 are needed")
    if poses.scale.ndim != 2 or not len(meshes.counts) == len(poses.scale) == len(focal) == len(principal):
        raise InputError("poses", f"are of shape {list(poses.scale.shape)} for {len(meshes.counts)} scenes")
    with torch.no_grad():
        screen, seen = _project(meshes, poses, focal, principal)
        find = find_outlines_compiled if screen.device.type == "cpu" else find_outlines
        outlines = find(meshes, screen, seen, len(poses.scale), side)
    return _blend(outlines, meshes, poses, focal, principal)


def _project(meshes: PackedMeshes, poses: Poses, focal: Tensor, principal: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [K, N, 2] of all vertices, and which are in front of the camera, bool [K, N]."""
    points = meshes.posed(poses)
    of_vertex = torch.repeat_interleave(torch.tensor(meshes.counts, device=points.device))
    depth = points[..., 2:]
    screen = points[..., :2] / depth * focal[of_vertex] + principal[of_vertex]
    seen = (depth[..., 0] > NEAR) & screen.isfinite().all(-1)
    return torch.where(seen[..., None], screen, 0), seen


def _blend(outlines: Outlines, meshes: PackedMeshes, poses: Poses, focal: Tensor, principal: Tensor) -> Tensor:
    """Shift coverage between neighbours by where the outlines are, differentiably."""
    side = outlines.covered.shape[-1]
    image = outlines.covered.to(poses.scale.dtype)
    scene, start, axis, row, column = (outlines.edge >= 0).nonzero(as_tuple=True)
    if not len(scene):
        return image
    upright = axis == 0
    ends = meshes.edges[outlines.edge[scene, start, axis, row, column]]
    points = poses.each(lambda values: values[scene, start]).apply(meshes.vertices[ends])
    screen = points[..., :2] / points[..., 2:] * focal[scene, None] + principal[scene, None]
    # Turned so that the first coordinate runs along the edge, and neighbours lie along the second.
    a, b = torch.where(upright[:, None, None], screen.flip(-1), screen).unbind(1)
    line = torch.where(upright, row, column) + 0.5
    across = a[:, 1] + (line - a[:, 0]) * (b - a)[:, 1] / (b - a)[:, 0]
    fraction = across - (torch.where(upright, column, row) + 0.5)
    first = outlines.covered[scene, start, row, column]
    shift = torch.where(first, fraction, 1 - fraction).clamp(0, 1) - 0.5
    pixel = ((scene * poses.scale.shape[1] + start) * side + row) * side + column
    neighbour = pixel + torch.where(upright, 1, side)
    changed = torch.where((shift < 0) == first, pixel, neighbour)
    return image.flatten().index_add(0, changed, shift).reshape(image.shape).clamp(0, 1)
