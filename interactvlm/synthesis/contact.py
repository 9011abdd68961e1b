"""What touches what, from geometry alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.proximity import inside_surface, surface_distances

__all__ = ["CONTACT_DISTANCE", "SOFT_DISTANCE", "body_contact", "ground_contact", "object_heat", "penetration"]

Array = NDArray[np.float64]

CONTACT_DISTANCE = 0.01
"""Metres between skin and object that count as contact."""

SOFT_DISTANCE = 0.02
"""The same where one of them is soft: a mattress, a cushion, a back in a jacket."""

_HEAT_FULL, _HEAT_WIDTH = 0.012, 0.02


def body_contact(vertices: Array, triangles: Array, distance: float = CONTACT_DISTANCE) -> NDArray[np.int32]:
    """Body vertices that touch an object or are inside it.

    Args:
        vertices: float64 [V, 3], the body.
        triangles: float64 [F, 3, 3], the object.
        distance: metres that count as touching.

    Returns:
        int32, ascending.
    """
    low, high = triangles.min(axis=(0, 1)) - distance, triangles.max(axis=(0, 1)) + distance
    near = np.flatnonzero(((vertices >= low) & (vertices <= high)).all(axis=1))
    if not len(near):
        return np.zeros(0, dtype=np.int32)
    touching = surface_distances(vertices[near], triangles, distance) <= distance
    rest = np.flatnonzero(~touching)
    touching[rest] = inside_surface(vertices[near[rest]], triangles)
    return near[touching].astype(np.int32)


def penetration(vertices: Array, triangles: Array, reach: float = 0.08) -> Array:
    """How deep each point is inside an object, metres; 0 outside, `reach` for anything deeper than that."""
    depth = np.zeros(len(vertices))
    inside = np.flatnonzero(inside_surface(vertices, triangles))
    if len(inside):
        depth[inside] = np.minimum(surface_distances(vertices[inside], triangles, reach), reach)
    return depth


def ground_contact(vertices: Array, distance: float = CONTACT_DISTANCE) -> NDArray[np.int32]:
    """Body vertices on the floor, int32, ascending."""
    return np.flatnonzero(vertices[:, 1] <= distance).astype(np.int32)


def object_heat(points: Array, body: Array, contact: NDArray[np.int32]) -> NDArray[np.float32]:
    """How much each vertex of an object takes part in a contact.

    Args:
        points: float64 [N, 3], the object's vertices.
        body: float64 [V, 3], the body.
        contact: the body's vertices that touch it.

    Returns:
        float32 [N] in [0, 1]: 1 under the contact, falling off within a few centimetres.
    """
    from scipy.spatial import cKDTree

    if not len(contact):
        return np.zeros(len(points), dtype=np.float32)
    distance, _ = cKDTree(body[contact]).query(points, distance_upper_bound=0.1)
    beyond = np.maximum(distance - _HEAT_FULL, 0) / _HEAT_WIDTH
    heat = np.exp(-0.5 * beyond**2)
    heat[heat < 0.02] = 0
    # The surface may be too coarse to have a vertex near the contact: its nearest ones then stand for it.
    if heat.max() < 0.5:
        nearest = np.unique(cKDTree(points).query(body[contact])[1])
        heat[nearest] = 1.0
    return np.asarray(heat, dtype=np.float32)
