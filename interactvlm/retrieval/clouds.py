"""Meshes and point clouds of strangers -> coloured clouds of at most 10,000 points, the shape encoder's input.

Nothing depends on the order in which points came: a cloud is sorted, then thinned by a seeded draw, so that the same
set of points always gives the same cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError, MeshError
from interactvlm.geometry.mesh import MAX_POINTS, Mesh
from interactvlm.retrieval.point_groups import MISSING_COLOUR

__all__ = ["CLOUD_POINTS", "ColouredCloud", "cloud_of_mesh", "cloud_of_points", "turned"]

CLOUD_POINTS = 10_000
"""Points of a cloud as OpenShape was trained (paper section 5)."""
_SEED = 0
_MAX_COORDINATE = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class ColouredCloud:
    """Points with colours.

    Attributes:
        points: float32 [N, 3], N up to 10,000.
        colours: float32 [N, 3], RGB in [0, 1].
        up: the axis that points up, "y" or "z".
    """

    points: NDArray[np.float32]
    colours: NDArray[np.float32]
    up: str = "y"


def cloud_of_points(
    points: NDArray[Any], colours: NDArray[Any] | None = None, *, up: str = "y", limit: int = CLOUD_POINTS
) -> ColouredCloud:
    """A cloud as it came, at most `limit` of its points, drawn evenly.

    Args:
        points: numbers [N, 3], 1 to 5,000,000 of them.
        colours: uint8 [N, 3], or floats in [0, 1]; grey 0.4 when None.
        up: "y" (glTF) or "z".
        limit: points kept.

    Raises:
        InputError: an array has another shape, is not finite, is out of range or too large.
    """
    _check_up(up)
    if points.ndim != 2 or points.shape[1] != 3 or not 1 <= len(points) <= MAX_POINTS:  # before any work
        raise InputError("points", f"have shape {list(points.shape)}; [N, 3] with N from 1 to {MAX_POINTS} is needed")
    if points.dtype.kind not in "fiu":
        raise InputError("points", f"are {points.dtype}; numbers are needed")
    if colours is not None and colours.shape != points.shape:
        raise InputError("colours", f"have shape {list(colours.shape)}, the points have {list(points.shape)}")
    if not (np.abs(points) <= _MAX_COORDINATE).all():  # also catches NaN
        raise InputError("points", f"must be finite and within {_MAX_COORDINATE:g}")
    if (points == points[:1]).all():
        raise InputError("points", "are all the same: they have no shape")
    painted = np.full(points.shape, MISSING_COLOUR, np.float32) if colours is None else _unit_colours(colours)
    rows = np.concatenate([points.astype(np.float32), painted], axis=1)
    rows = rows[np.lexsort(rows.T[::-1])]
    rows = rows[np.random.default_rng(_SEED).permutation(len(rows))[:limit]]
    return ColouredCloud(np.ascontiguousarray(rows[:, :3]), np.ascontiguousarray(rows[:, 3:]), up)


def cloud_of_mesh(mesh: Mesh, *, up: str = "y", count: int = CLOUD_POINTS, seed: int = _SEED) -> ColouredCloud:
    """Points drawn evenly over a mesh's surface; the same ones each time.

    Args:
        mesh: its vertex colours are blended, grey 0.4 where it has none.
        up: "y" (glTF) or "z".
        count: points.
        seed: of the draw.

    Raises:
        MeshError: the surface has no area.
        InputError: `up` is no axis.
    """
    _check_up(up)
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    doubled = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    total = doubled.sum()
    if not total > 0:
        raise MeshError("mesh", "has no area")
    rng = np.random.default_rng(seed)
    drawn = np.searchsorted(np.cumsum(doubled) / total, rng.random(count), side="right")
    face = np.minimum(drawn, np.flatnonzero(doubled)[-1])  # the sum may round to just below 1
    first, second = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - first, first * (1 - second), first * second], axis=1)
    points = np.einsum("nk,nkc->nc", weights, corners[face]).astype(np.float32)
    colours = np.full(points.shape, MISSING_COLOUR, np.float32)
    if mesh.vertex_colors is not None:
        colours = np.einsum("nk,nkc->nc", weights, mesh.vertex_colors[mesh.faces[face]] / 255).astype(np.float32)
    return ColouredCloud(points, colours, up)


def turned(cloud: ColouredCloud, *, up: str) -> ColouredCloud:
    """The cloud with that axis up: turned about x by a quarter, never mirrored.

    Raises:
        InputError: `up` is no axis.
    """
    _check_up(up)
    if cloud.up == up:
        return cloud
    x, y, z = cloud.points.T
    points = np.stack([x, -z, y] if up == "z" else [x, z, -y], axis=1)
    return ColouredCloud(points, cloud.colours, up)


def _check_up(up: str) -> None:
    if up not in ("y", "z"):
        raise InputError("up", f"is {up!r}; known: y, z")


def _unit_colours(colours: NDArray[Any]) -> NDArray[np.float32]:
    scale = np.float32(255 if colours.dtype == np.uint8 else 1)
    unit: NDArray[np.float32] = (colours.astype(np.float32) / scale).astype(np.float32)
    if not ((unit >= 0) & (unit <= 1)).all():
        raise InputError("colours", "must be uint8, or floats from 0 to 1")
    return unit
