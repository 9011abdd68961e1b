"""Sampling and grouping of point clouds (Qi et al., PointNet++, 2017), and the form OpenShape expects clouds in.

Shapes: B clouds, N points, S sampled centres, K points a group. Indices are found on the CPU by compiled loops and
returned on the points' device: 384 centres among 10,000 points are two small sequential scans, which torch spends
mostly on starting kernels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.geometry.compiled import compiled

__all__ = ["MISSING_COLOUR", "ball_groups", "farthest_points", "gather_points", "normalize_cloud"]

MISSING_COLOUR = 0.4
"""Grey of points whose colour is unknown, in [0, 1]."""


def normalize_cloud(points: Tensor, colours: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Centre on the mean, scale the farthest point to distance 1, and fill in missing colours.

    OpenShape's G14 model was trained on clouds with z up; turn yours before.

    Args:
        points: float [N, 3] or [B, N, 3].
        colours: like `points`, RGB in [0, 1]; grey when None.

    Returns:
        Points and colours, as given.

    Raises:
        InputError: when shapes are wrong or a cloud has no extent or is not finite.
    """
    if points.ndim not in (2, 3) or points.shape[-1] != 3 or not points.shape[-2]:
        raise InputError("points", f"has shape {list(points.shape)}, [N, 3] or [B, N, 3] with N > 0 is needed")
    if colours is not None and colours.shape != points.shape:
        raise InputError("colours", f"has shape {list(colours.shape)}, points have {list(points.shape)}")
    centred = points - points.mean(-2, keepdim=True)
    radius = centred.norm(dim=-1).amax(-1)
    if not (radius.isfinite() & (radius > 0)).all():
        raise InputError("points", "must be finite and not all the same")
    if colours is None:
        colours = torch.full_like(points, MISSING_COLOUR)
    return centred / radius[..., None, None], colours


def farthest_points(points: Tensor, count: int, *, start: Tensor | None = None) -> Tensor:
    """Sample centres that are far from each other: int64 [B, S], the first given, each next one farthest from all.

    With fewer different points than centres, points repeat.

    Args:
        points: float [B, N, 3].
        count: number of centres S.
        start: int64 [B], first centre of each cloud; 0 when None. The published code draws it at random.

    Raises:
        InputError: when the shape is wrong, `count` is not positive, or `start` is not in the cloud.
    """
    if points.ndim != 3 or points.shape[2] != 3 or not points.shape[1]:
        raise InputError("points", f"has shape {list(points.shape)}, [B, N, 3] with N > 0 is needed")
    if count < 1:
        raise InputError("count", f"is {count}, at least 1 is needed")
    first = np.zeros(len(points), np.int64) if start is None else start.cpu().numpy()
    if first.shape != points.shape[:1] or ((first < 0) | (first >= points.shape[1])).any():
        raise InputError("start", f"must be one index below {points.shape[1]} for each of {len(points)} clouds")
    chosen = np.empty((len(points), count), np.int64)
    for cloud, begin, row in zip(_on_cpu(points), first, chosen, strict=True):
        _sample(cloud, int(begin), row)
    return torch.from_numpy(chosen).to(points.device)


def ball_groups(points: Tensor, centres: Tensor, *, radius: float, limit: int) -> Tensor:
    """Indices of the points within `radius` of each centre: int64 [B, S, K].

    The first K = `limit` points in the order of the cloud, not the nearest ones; fewer are padded with the first.

    Args:
        points: float [B, N, 3].
        centres: float [B, S, 3], points of the cloud (so that no group is empty).
        radius: in the cloud's units.
        limit: K.

    Raises:
        InputError: when a centre has no point within `radius`.
    """
    groups = np.empty((*centres.shape[:2], limit), np.int64)
    for cloud, middles, rows in zip(_on_cpu(points), _on_cpu(centres), groups, strict=True):
        if not _collect(cloud, middles, np.float32(radius * radius), rows):
            raise InputError("centres", f"includes one without any point within {radius}")
    return torch.from_numpy(groups).to(points.device)


def gather_points(values: Tensor, index: Tensor) -> Tensor:
    """Rows of `values` [B, N, C] at `index` [B, ...]: [B, ..., C]."""
    cloud = torch.arange(len(values), device=values.device).reshape(-1, *[1] * (index.ndim - 1))
    return values[cloud, index]


def _on_cpu(points: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(points.detach().cpu().numpy(), dtype=np.float32)


@compiled
def _sample(points: NDArray[np.float32], start: int, chosen: NDArray[np.int64]) -> None:
    nearest = np.full(len(points), np.float32(np.inf), dtype=np.float32)
    newest = start
    for step in range(len(chosen)):
        chosen[step] = newest
        x, y, z = points[newest]
        best, farthest = np.float32(-1.0), 0
        for i in range(len(points)):
            dx, dy, dz = points[i, 0] - x, points[i, 1] - y, points[i, 2] - z
            nearest[i] = min(nearest[i], dx * dx + dy * dy + dz * dz)
            if nearest[i] > best:
                best, farthest = nearest[i], i
        newest = farthest


@compiled
def _collect(
    points: NDArray[np.float32], centres: NDArray[np.float32], squared_radius: np.float32, groups: NDArray[np.int64]
) -> bool:
    limit = groups.shape[1]
    for s in range(len(centres)):
        x, y, z = centres[s]
        found = 0
        for i in range(len(points)):
            dx, dy, dz = points[i, 0] - x, points[i, 1] - y, points[i, 2] - z
            if dx * dx + dy * dy + dz * dz <= squared_radius:
                groups[s, found] = i
                found += 1
                if found == limit:
                    break
        if found == 0:
            return False
        groups[s, found:] = groups[s, 0]
    return True
