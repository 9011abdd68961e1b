"""The surface points in contact that a fit works with: few, evenly spread, with normals and probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh

__all__ = ["BODY_THRESHOLD", "OBJECT_THRESHOLD", "ContactPoints", "contact_points"]

BODY_THRESHOLD = 0.5
"""Contact probability from which on a body vertex counts (the release's value)."""
OBJECT_THRESHOLD = 0.3
"""Contact probability from which on an object vertex counts (the release's value)."""

_CANDIDATES = 8
"""Points on faces from which each point is chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class ContactPoints:
    """P points in contact.

    Attributes:
        points: float32 [P, 3], metres.
        normals: float32 [P, 3], unit, outwards; 0 where the surface has none.
        weights: float32 [P], contact probability.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    weights: NDArray[np.float32]


def contact_points(mesh: Mesh, probability: NDArray[np.float32], threshold: float, limit: int) -> ContactPoints:
    """Points spread over the surface in contact, by farthest-point sampling from the likeliest one.

    Candidates are the vertices in contact and points on the faces at them, where vertices lie far apart; between
    vertices, probabilities and normals are interpolated.

    Args:
        mesh: body or object.
        probability: [V] in [0, 1].
        threshold: what is below is left out.
        limit: most points to keep.

    Returns:
        Possibly no point at all.

    Raises:
        InputError: when there is not one finite probability a vertex.
    """
    if probability.shape != (len(mesh.vertices),) or not np.isfinite(probability).all():
        raise InputError("contact", f"has shape {list(probability.shape)}, {len(mesh.vertices)} finite numbers needed")
    touching = np.flatnonzero(probability >= threshold)
    points, normals, weights = mesh.vertices[touching], mesh.vertex_normals[touching], probability[touching]
    if 0 < len(touching) < limit:
        corners, shares = _between(mesh, probability >= threshold, limit)
        own = (probability[corners] * shares).sum(axis=1)
        kept = own >= threshold
        corners, shares = corners[kept], shares[kept][..., None].astype(np.float32)
        turned = (mesh.vertex_normals[corners] * shares).sum(axis=1)
        turned /= np.linalg.norm(turned, axis=1, keepdims=True).clip(1e-6)
        points = np.concatenate([points, (mesh.vertices[corners] * shares).sum(axis=1)])
        normals = np.concatenate([normals, turned])
        weights = np.concatenate([weights, own[kept]])
    chosen = _farthest(points, int(weights.argmax()), limit) if len(points) > limit else np.arange(len(points))
    return ContactPoints(
        points[chosen].astype(np.float32), normals[chosen].astype(np.float32), weights[chosen].astype(np.float32)
    )


def _between(mesh: Mesh, touching: NDArray[np.bool_], limit: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """About `_CANDIDATES` x `limit` points on the faces at touching vertices: corners [M, 3], barycentrics [M, 3]."""
    faces = mesh.faces[touching[mesh.faces].any(axis=1)]
    corners = mesh.vertices[faces].astype(np.float64)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not areas.sum() > 0:
        return faces[:0], np.zeros((0, 3))
    # Evenly by area, and by a low-discrepancy sequence within faces: the same points in every run.
    count = _CANDIDATES * limit
    face = np.searchsorted(areas.cumsum() / areas.sum(), (np.arange(count) + 0.5) / count).clip(max=len(faces) - 1)
    u, v = (np.outer(np.arange(count), (0.7548776662466927, 0.5698402909980532)) % 1).T
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return faces[face], np.stack([1 - u - v, u, v], axis=1)


def _farthest(points: NDArray[np.float32], first: int, limit: int) -> NDArray[np.int64]:
    chosen = np.empty(limit, dtype=np.int64)
    distance = np.full(len(points), np.inf)
    place = first
    for i in range(limit):
        chosen[i] = place
        distance = np.minimum(distance, np.square(points - points[place]).sum(axis=1))
        place = int(distance.argmax())
    return np.sort(chosen)
