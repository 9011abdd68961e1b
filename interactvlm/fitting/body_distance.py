"""Signed distances to bodies, on a grid a scene: computed once, looked up in every step.

Legend: S scenes, G cells a side of the grids, which span the body's bounding box and `_MARGIN` around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from interactvlm.geometry.mesh import Mesh

__all__ = ["BodyDistance"]

_CELLS = 40
_MARGIN = 0.03
_REACH = 0.12
"""Metres beyond which distances are not told apart; nothing is that deep inside a body."""
_PLANE_REACH = 0.03
"""Metres within which the distance is that to the plane of the nearest vertex, not to the vertex."""
_SPACING = 0.02
"""Metres between neighbouring vertices of a body, about."""
_LEAST_COSINE = 0.5
"""What lies inside is seen from its nearest vertex along the reversed normal, nearly; beside a sharp edge it is not."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyDistance:
    """Distances to S bodies.

    Attributes:
        values: float [S, G, G, G], metres at the nodes, axes z, y, x; negative inside the body.
        low: float [S, 3], the first node, metres.
        high: float [S, 3], the last one.
    """

    values: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def build(
        cls, bodies: Sequence[Mesh], *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> BodyDistance:
        """Distances by the nearest vertex and its normal: for dense, closed meshes wound outwards, as bodies are."""
        grids, lows, highs = [], [], []
        for body in bodies:
            low, high = body.bounds[0].astype(np.float64) - _MARGIN, body.bounds[1].astype(np.float64) + _MARGIN
            grids.append(_distances(body, low, high))
            lows.append(low)
            highs.append(high)
        values, low, high = (
            torch.as_tensor(np.stack(rows), dtype=dtype, device=device) for rows in (grids, lows, highs)
        )
        return cls(values, low, high)

    def at(self, points: Tensor) -> Tensor:
        """Signed distances [S, K, P] of points [S, K, P, 3], metres; differentiable.

        Points outside a grid get the value at its border, which is outside the body.
        """
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        place = (points - middle[:, None, None]) / half[:, None, None]
        found = functional.grid_sample(
            self.values[:, None], place[:, :, :, None], mode="bilinear", padding_mode="border", align_corners=True
        )
        return found[:, 0, ..., 0]

    def select(self, scenes: Tensor) -> BodyDistance:
        """Only these scenes: int64 [A]."""
        return BodyDistance(self.values[scenes], self.low[scenes], self.high[scenes])


def _distances(body: Mesh, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float32]:
    axes = [np.linspace(low[i], high[i], _CELLS) for i in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    nodes = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    distance, nearest = cKDTree(body.vertices).query(nodes, distance_upper_bound=_REACH)
    far = np.isinf(distance)
    distance, nearest = np.where(far, _REACH, distance), np.where(far, 0, nearest)
    plane = ((nodes - body.vertices[nearest]) * body.vertex_normals[nearest]).sum(axis=1)
    inside = ~far & (plane < 0) & ((distance < _SPACING) | (plane < -_LEAST_COSINE * distance))
    near = (distance < _PLANE_REACH) & ((plane > 0) | inside)
    signed = np.where(near, plane, np.where(inside, -distance, distance))
    grid: NDArray[np.float32] = signed.reshape(_CELLS, _CELLS, _CELLS).astype(np.float32)
    return grid
