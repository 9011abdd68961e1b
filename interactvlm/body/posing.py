"""Kernels of posing: rotation vectors down the tree of bones, and linear blend skinning."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.compiled import compiled

__all__ = ["bone_frames", "rotation_matrix", "skin"]


@compiled
def rotation_matrix(vector: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Rodrigues' formula: rotation vector [3] in radians into `out` [3, 3]."""
    x, y, z = vector[0], vector[1], vector[2]
    angle = np.sqrt(x * x + y * y + z * z)
    if angle < 1e-9:
        sine, versine = 1.0, 0.5
    else:
        sine, versine = np.sin(angle) / angle, (1.0 - np.cos(angle)) / (angle * angle)
    out[0, 0] = 1.0 - versine * (y * y + z * z)
    out[0, 1] = versine * x * y - sine * z
    out[0, 2] = versine * x * z + sine * y
    out[1, 0] = versine * x * y + sine * z
    out[1, 1] = 1.0 - versine * (x * x + z * z)
    out[1, 2] = versine * y * z - sine * x
    out[2, 0] = versine * x * z - sine * y
    out[2, 1] = versine * y * z + sine * x
    out[2, 2] = 1.0 - versine * (x * x + y * y)


@compiled
def bone_frames(
    parents: NDArray[np.int64],
    heads: NDArray[np.float64],
    rotations: NDArray[np.float64],
    translation: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World rotations [B, 3, 3] and heads [B, 3] of bones with A-pose heads `heads`, parents before children."""
    count = len(parents)
    turns = np.empty((count, 3, 3))
    places = np.empty((count, 3))
    local = np.empty((3, 3))
    for bone in range(count):
        parent = parents[bone]
        rotation_matrix(rotations[bone], local)
        if parent < 0:
            turns[bone] = local
            places[bone] = translation
            continue
        for i in range(3):
            for j in range(3):
                turns[bone, i, j] = (
                    turns[parent, i, 0] * local[0, j]
                    + turns[parent, i, 1] * local[1, j]
                    + turns[parent, i, 2] * local[2, j]
                )
            places[bone, i] = (
                places[parent, i]
                + turns[parent, i, 0] * (heads[bone, 0] - heads[parent, 0])
                + turns[parent, i, 1] * (heads[bone, 1] - heads[parent, 1])
                + turns[parent, i, 2] * (heads[bone, 2] - heads[parent, 2])
            )
    return turns, places


@compiled
def skin(
    vertices: NDArray[np.float64],
    bones: NDArray[np.int64],
    weights: NDArray[np.float64],
    turns: NDArray[np.float64],
    heads: NDArray[np.float64],
    rest_heads: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Linear blend skinning: rest vertices [K, 3] to [K, 3]; `turns` [B, 3, 3] rotate from rest about the heads."""
    count = len(turns)
    shift = np.empty((count, 3))
    for bone in range(count):
        for i in range(3):
            shift[bone, i] = heads[bone, i] - (
                turns[bone, i, 0] * rest_heads[bone, 0]
                + turns[bone, i, 1] * rest_heads[bone, 1]
                + turns[bone, i, 2] * rest_heads[bone, 2]
            )
    out = np.zeros(vertices.shape)
    for vertex in range(len(vertices)):
        x, y, z = vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2]
        for slot in range(bones.shape[1]):
            weight = weights[vertex, slot]
            if weight == 0.0:
                continue
            bone = bones[vertex, slot]
            for i in range(3):
                out[vertex, i] += weight * (
                    turns[bone, i, 0] * x + turns[bone, i, 1] * y + turns[bone, i, 2] * z + shift[bone, i]
                )
    return out
