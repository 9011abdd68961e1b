"""Points spread evenly over a surface, the same ones in every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["points_on_faces"]


def points_on_faces(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], count: int
) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """`count` places on the faces, evenly by area; none where the faces have no area.

    Args:
        vertices: [V, 3].
        faces: [F, 3].
        count: how many.

    Returns:
        The vertices of each place's face [count, 3], and its barycentric weights [count, 3].
    """
    corners = vertices[faces].astype(np.float64)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not areas.sum() > 0:
        return faces[:0], np.zeros((0, 3))
    step = np.arange(count)
    face = np.searchsorted(areas.cumsum() / areas.sum(), (step + 0.5) / count).clip(max=len(faces) - 1)
    # Within faces by the R2 low-discrepancy sequence, folded into the triangle.
    u, v = (np.outer(step, (0.7548776662466927, 0.5698402909980532)) % 1).T
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return faces[face], np.stack([1 - u - v, u, v], axis=1)
