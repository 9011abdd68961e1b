"""A differentiable silhouette of a triangle mesh (PyTorch3D's formulation: Liu et al., Soft Rasterizer, 2019).

Every pixel sees the faces that cover it or come closer than a blur radius; face f covers it by
`sigmoid(-d / sigma)` with d the squared distance to the face's outline, negative inside. The silhouette is
`1 - prod_f (1 - coverage_f)` over the nearest `faces_per_pixel` faces.

Legend: V vertices, F faces, H x W pixels, M (pixel, face) pairs. Screen coordinates are pixels, x right, y down, the
centre of pixel (row i, column j) at (j + 0.5, i + 0.5); distances are measured in normalised device units, where the
shorter side of the image is 2 long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from interactvlm.errors import InputError

__all__ = ["DEPTH_BACKGROUND", "Fragments", "find_fragments", "nearest_depth", "soft_silhouette"]

DEPTH_BACKGROUND = -1.0
"""Depth of a pixel that sees no face."""

_BLUR_COVERAGE = 1e-4
_EPSILON = 1e-8
_PAIRS_PER_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fragments:
    """Which faces each pixel sees; constants, no gradient.

    Attributes:
        size: (H, W).
        pixel: int64 [M], row * W + column.
        face: int64 [M].
        inside: bool [M], whether the face covers the pixel's centre.
        depth: float [M], view-space z at the nearest point of the face, metres.
    """

    size: tuple[int, int]
    pixel: Tensor
    face: Tensor
    inside: Tensor
    depth: Tensor


def find_fragments(
    screen: Tensor, faces: Tensor, size: tuple[int, int], *, sigma: float = 1e-4, faces_per_pixel: int = 100
) -> Fragments:
    """Find the faces that each pixel sees within the blur radius where coverage falls to 1e-4.

    Faces seen edge-on or with a vertex at or behind the camera are left out. Both windings count.

    Args:
        screen: float [V, 3]: x and y in pixels, z in metres.
        faces: int64 [F, 3].
        size: (H, W) of the image.
        sigma: softness, squared normalised device units.
        faces_per_pixel: the nearest faces by depth that are kept.

    Raises:
        InputError: when the image is empty, `sigma` or `faces_per_pixel` is not positive, or a shape is wrong.
    """
    _check(screen, faces, size, sigma, faces_per_pixel)
    unit = 2.0 / min(size)
    blur = math.log(1.0 / _BLUR_COVERAGE - 1.0) * sigma
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        corners = screen.detach()[faces]
        for pixel, face in _candidates(corners, size, math.sqrt(blur) / unit):
            point = _pixel_centres(pixel, size[1], corners)
            inside, depth = _inside_and_depth(point, corners[face])
            near = _squared_distance(point, corners[face][..., :2]) * unit**2 < blur
            keep = (inside | near) & (depth >= 0)
            found.append((pixel[keep], face[keep], inside[keep], depth[keep]))
        if not found:
            empty = faces.new_zeros(0)
            return Fragments(size, empty, empty, empty.bool(), corners.new_zeros(0))
        pixel, face, inside, depth = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = _nearest_per_pixel(pixel, depth, faces_per_pixel)
        return Fragments(size, pixel[order], face[order], inside[order], depth[order])


def soft_silhouette(fragments: Fragments, screen: Tensor, faces: Tensor, *, sigma: float = 1e-4) -> Tensor:
    """The silhouette [H, W] in [0, 1], differentiable in `screen`.

    Args:
        fragments: from `find_fragments` with the same `screen`, `faces` and `sigma`.
        screen: float [V, 3] as there.
        faces: int64 [F, 3].
        sigma: softness, squared normalised device units.
    """
    height, width = fragments.size
    unit = 2.0 / min(fragments.size)
    corners = screen[faces[fragments.face]][..., :2]
    point = _pixel_centres(fragments.pixel, width, corners)
    distance = _squared_distance(point, corners) * unit**2
    signed = torch.where(fragments.inside, -distance, distance)
    # log(1 - sigmoid(-d / sigma)) without cancellation
    log_free = functional.logsigmoid(signed / sigma)
    total = screen.new_zeros(height * width).index_add(0, fragments.pixel, log_free)
    return -torch.expm1(total).reshape(height, width)


def nearest_depth(fragments: Fragments) -> Tensor:
    """View-space z of the nearest face [H, W], metres; DEPTH_BACKGROUND where no face is seen. No gradient."""
    height, width = fragments.size
    far = torch.full((height * width,), math.inf, dtype=fragments.depth.dtype, device=fragments.depth.device)
    depth = far.scatter_reduce(0, fragments.pixel, fragments.depth, "amin")
    return torch.where(depth.isinf(), DEPTH_BACKGROUND, depth).reshape(height, width)


def _check(screen: Tensor, faces: Tensor, size: tuple[int, int], sigma: float, faces_per_pixel: int) -> None:
    if screen.ndim != 2 or screen.shape[1] != 3 or not screen.is_floating_point():
        raise InputError("screen", f"has shape {list(screen.shape)}, floating point [V, 3] is needed")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.is_floating_point():
        raise InputError("faces", f"has shape {list(faces.shape)}, integer [F, 3] is needed")
    if min(size) < 1:
        raise InputError("size", f"is {size}, both sides must be at least 1")
    if not sigma > 0:
        raise InputError("sigma", f"is {sigma}, it must be greater than 0")
    if faces_per_pixel < 1:
        raise InputError("faces_per_pixel", f"is {faces_per_pixel}, at least 1 is needed")


def _candidates(corners: Tensor, size: tuple[int, int], reach: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of (pixel, face) pairs whose pixel lies in the face's box grown by `reach` pixels."""
    height, width = size
    xy = corners[..., :2]
    twice_area = torch.linalg.det(torch.stack([xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]], 1))
    visible = (corners[..., 2] > _EPSILON).all(1) & (twice_area.abs() > _EPSILON) & corners.isfinite().all((1, 2))
    limit = xy.new_tensor([width, height])
    low = (xy.amin(1) - reach - 0.5).ceil().clamp(min=0).minimum(limit)
    high = (xy.amax(1) + reach - 0.5).floor().clamp(min=-1).minimum(limit - 1)
    extent = torch.where(visible[:, None], (high - low + 1).clamp(min=0), 0).nan_to_num(0).long()
    count = extent.prod(1)
    face_ids = count.nonzero()[:, 0]
    chunk = torch.div(count[face_ids].cumsum(0), _PAIRS_PER_CHUNK, rounding_mode="floor")
    for ids in face_ids.split(chunk.unique_consecutive(return_counts=True)[1].tolist() if len(face_ids) else [0]):
        face = ids.repeat_interleave(count[ids])
        first = (count[ids].cumsum(0) - count[ids]).repeat_interleave(count[ids])
        step = torch.arange(len(face), device=face.device) - first
        columns = extent[face, 0]
        row = low[face, 1].long() + torch.div(step, columns, rounding_mode="floor")
        yield row * width + low[face, 0].long() + step % columns, face


def _pixel_centres(pixel: Tensor, width: int, like: Tensor) -> Tensor:
    row = torch.div(pixel, width, rounding_mode="floor")
    return torch.stack([pixel - row * width, row], -1).to(like.dtype) + 0.5


def _inside_and_depth(point: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    a, b, c = corners[..., :2].unbind(-2)
    z = corners[..., 2]
    areas = torch.stack([_cross(c - b, point - b), _cross(a - c, point - c), _cross(b - a, point - a)], -1)
    flat = areas / _cross(b - a, c - a)[:, None]
    # Perspective correction: interpolate in view space. Outside, depth comes from weights cut at zero, as PyTorch3D.
    weights = flat / z
    weights = weights / weights.sum(-1, keepdim=True)
    clipped = weights.clamp_min(0)
    clipped = clipped / clipped.sum(-1, keepdim=True).clamp_min(1e-5)
    return (weights > 0).all(-1), (clipped * z).sum(-1)


def _squared_distance(point: Tensor, triangle: Tensor) -> Tensor:
    """Squared distance [M] from points [M, 2] to the outlines of triangles [M, 3, 2]."""
    edge = triangle.roll(-1, 1) - triangle
    offset = point[:, None] - triangle
    along = (offset * edge).sum(-1) / edge.square().sum(-1).clamp_min(_EPSILON)
    return (offset - along.detach().clamp(0, 1)[..., None] * edge).square().sum(-1).amin(1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _nearest_per_pixel(pixel: Tensor, depth: Tensor, limit: int) -> Tensor:
    by_depth = depth.argsort(stable=True)
    order = by_depth[pixel[by_depth].argsort(stable=True)]
    _, sizes = pixel[order].unique_consecutive(return_counts=True)
    first = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return order[torch.arange(len(order), device=order.device) - first < limit]
