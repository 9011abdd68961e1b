"""Large meshes made small enough to draw hundreds of times a step, by merging the vertices of grid cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_FACES", "few_faces"]

MAX_FACES = 20_000
"""Most faces of a mesh that is drawn as it is."""
_CELLS = (256, 128, 96, 64)
"""Cells along the largest extent that are tried, finest first. An object spans half a crop: about 32 pixels."""


def few_faces(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
    """The mesh without repeated vertices or faces of no area and, above MAX_FACES, with those of grid cells merged.

    The grid is the finest of a few that brings the faces below MAX_FACES, or else the coarsest: its cells are half a
    pixel of a crop.

    Args:
        vertices: [V, 3].
        faces: [F, 3].

    Returns:
        Vertices float64 [V', 3], the mean of those merged, and faces [F', 3]; merged ones have lost their winding.
    """
    exact = np.asarray(vertices, np.float64)
    unique, index = np.unique(exact, axis=0, return_inverse=True)
    small = _distinct(index.reshape(-1)[faces])
    if len(small) <= MAX_FACES:
        return unique, small
    low = unique.min(axis=0)
    extent = float((unique.max(axis=0) - low).max())
    merged, result = unique, small
    for cells in _CELLS:
        place = np.floor((unique - low) / extent * cells).astype(np.int64)
        _, cluster, count = np.unique(place @ np.array([1, 1024, 1024**2]), return_inverse=True, return_counts=True)
        merged = np.stack([np.bincount(cluster, unique[:, axis]) / count for axis in range(3)], axis=1)
        result = np.unique(np.sort(_distinct(cluster[small]), axis=1), axis=0)
        if len(result) <= MAX_FACES:
            break
    return merged, result


def _distinct(faces: NDArray[np.integer]) -> NDArray[np.integer]:
    kept: NDArray[np.integer] = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    return kept
