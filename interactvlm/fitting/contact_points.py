"""The surface points in contact that a fit works with: few, evenly spread, with normals and probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.fitting.sampling import points_on_faces
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
        at_contact = mesh.faces[(probability >= threshold)[mesh.faces].any(axis=1)]
        corners, shares = points_on_faces(mesh.vertices, at_contact, _CANDIDATES * limit)
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


def _farthest(points: NDArray[np.float32], first: int, limit: int) -> NDArray[np.int64]:
    chosen = np.empty(limit, dtype=np.int64)
    distance = np.full(len(points), np.inf)
    place = first
    for i in range(limit):
        chosen[i] = place
        distance = np.minimum(distance, np.square(points - points[place]).sum(axis=1))
        place = int(distance.argmax())
    return np.sort(chosen)
