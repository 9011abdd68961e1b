"""From masks in the views to values on the surface, as sparse products (paper, section 3; release).

A render's foreground and what stands behind each of its pixels never change, so the lift is prepared once per
surface: one matrix takes low-resolution logits to the foreground pixels (SAM's bilinear upsampling, at those pixels
only), another takes pixel values to vertices. Only pointwise functions stand between them. torch's sparse product
with one vector is faster than a fused numba kernel, per question as fast as a product with several columns, which
would need them transposed, and the same code runs on CUDA.

Shapes: Q questions, J views, S side of the pixel maps, g side of the low-resolution logits, P foreground pixels of
all views, V vertices or points. Vertices that no view sees get 0.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.mvloc.sparse import SparseMatrix

__all__ = ["HardLift", "Lift", "MeshLift", "PointLift", "SoftLift"]

_LOGIT_LIMIT = 20.0
#: Object meshes: pixels below this probability say nothing. Older human lift: threshold of logits and of vertices.
_THRESHOLD = 0.3


class Lift:
    """Base of the four lifts; each is prepared once and then called with logits.

    Args:
        ids: integer [J, S, S, K], the K = 3 vertices or K = 1 point behind each pixel; negative: background.
        weights: floating [J, S, S, K], barycentric coordinates, or ones for points.
        count: number of vertices or points.
        grid: side g of the low-resolution logits (256 as published).
        device: where to compute, always in float32.

    Raises:
        InputError: the arrays' shapes do not fit, or an index is not below `count`.
    """

    def __init__(
        self,
        ids: NDArray[np.integer],
        weights: NDArray[np.floating],
        *,
        count: int,
        grid: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if ids.ndim != 4 or ids.shape[1] != ids.shape[2] or ids.shape != weights.shape:
            raise InputError(
                "pixel maps",
                f"have shapes {list(ids.shape)} and {list(weights.shape)}; need [views, side, side, K] twice",
            )
        if ids.max(initial=-1) >= count:
            raise InputError("pixel maps", f"name vertex {ids.max()} of a surface of {count}")
        if max(4 * ids.size, len(ids) * count) > np.iinfo(np.int32).max:
            raise InputError("pixel maps", f"of shape {list(ids.shape)} over {count} vertices are too large")
        self.views, self.side = ids.shape[:2]
        self.count = count
        self.grid = grid
        self.device = torch.device(device)
        foreground = (ids >= 0).all(axis=-1)
        self._pixels = np.flatnonzero(foreground)
        self._sampling = _bilinear_sampling(self._pixels, self.views, self.side, grid, self.device)
        # A rasteriser's coordinates may undershoot zero by a rounding error; negative weights have no meaning here.
        self._prepare(ids[foreground].astype(np.int64), weights[foreground].clip(min=0).astype(np.float64))

    def __call__(self, low_res: Tensor) -> Tensor:
        """Lift logits [Q, J, g, g], Q >= 1, to float32 [Q, V] on the lift's device; differentiable.

        Raises:
            InputError: the logits' shape is not that of this surface.
        """
        if low_res.ndim != 4 or not len(low_res) or tuple(low_res.shape[1:]) != (self.views, self.grid, self.grid):
            raise InputError(
                "logits", f"have shape {list(low_res.shape)}, need [Q, {self.views}, {self.grid}, {self.grid}]"
            )
        flat = low_res.to(self.device, torch.float32).flatten(1)
        return torch.stack([self._values(self._sampling @ question) for question in flat])

    @property
    def nbytes(self) -> int:
        """Bytes of the prepared matrices: what one call reads."""
        return sum(matrix.nbytes for matrix in vars(self).values() if isinstance(matrix, SparseMatrix))

    def _prepare(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        """Build the matrices from the foreground pixels' vertices and weights, [P, K] each."""
        raise NotImplementedError

    def _values(self, logits: Tensor) -> Tensor:
        """From one question's logits at the foreground pixels [P] to vertices [V]."""
        raise NotImplementedError

    def _rows_by_view(self, vertices: NDArray[np.int64]) -> NDArray[np.int64]:
        """[P, K]: row `view V + vertex` of each entry."""
        view = self._pixels // self.side**2
        return np.asarray(vertices + (view * self.count)[:, None])

    def _view_matrix(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> SparseMatrix:
        """Sparse [J V, P]: every view's vertices from its own pixels."""
        return _sparse(self._rows_by_view(vertices), weights, self.views * self.count, self.device)

    def _mean_matrix(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> SparseMatrix:
        """Sparse [V, P]: weighted mean per view, then the mean over the views that see the vertex, in one product."""
        rows = self._rows_by_view(vertices)
        total = np.bincount(rows.ravel(), weights.ravel(), self.views * self.count)
        seen_by = (total.reshape(self.views, -1) > 0).sum(axis=0)
        scale = np.divide(1.0, total * np.tile(seen_by, self.views), out=np.zeros(total.shape), where=total > 0)
        return _sparse(vertices, weights * scale[rows], self.count, self.device)


class SoftLift(Lift):
    """The current human lift: probabilities, weighted by barycentric coordinates; every step is linear but the
    sigmoid, so one matrix holds both means.
    """

    def _prepare(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self._mean = self._mean_matrix(vertices, weights)

    def _values(self, logits: Tensor) -> Tensor:
        return self._mean @ logits.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT).sigmoid()


class HardLift(Lift):
    """The lift of older human checkpoints, 0 or 1: pixels whose *logit* exceeds 0.3 count, and a vertex is in contact
    where the mean of its barycentric coordinates over those pixels, all views together, exceeds 0.3.
    """

    def _prepare(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self._weights = _sparse(vertices, weights, self.count, self.device)
        self._hits = _sparse(vertices, np.ones_like(weights), self.count, self.device)

    def _values(self, logits: Tensor) -> Tensor:
        active = (logits > _THRESHOLD).float()
        return ((self._weights @ active) / (self._hits @ active).clamp_min(1) > _THRESHOLD).float()


class MeshLift(Lift):
    """The object mesh lift: weighted mean of the probabilities above 0.3 per view, then over the
    views that have any.
    """

    def _prepare(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self._weights = self._view_matrix(vertices, weights)

    def _values(self, logits: Tensor) -> Tensor:
        probability = logits.sigmoid()
        active = (probability > _THRESHOLD).float()
        weight = (self._weights @ active).view(self.views, self.count)
        value = (self._weights @ (probability * active)).view(self.views, self.count)
        seen = weight > 0
        # Never divide by zero, not even where the quotient is dropped: its gradient would be NaN.
        means: Tensor = value / torch.where(seen, weight, 1.0)
        return means.sum(0) / seen.sum(0).clamp_min(1)


class PointLift(Lift):
    """The lift of point clouds: mean per point per view, then over the views that see it.

    Args:
        ids: integer [J, S, S], the point behind each pixel; negative: background.
        valid: bool [J, S, S], pixels where the render is not white. As released, logits of mapped pixels outside it
            are averaged *without* a sigmoid, so that values may leave [0, 1]; maps and renders of one rasteriser have
            no such pixels.
        count: number of points.
        grid: as in `Lift`.
        device: as in `Lift`.
    """

    def __init__(
        self,
        ids: NDArray[np.integer],
        valid: NDArray[np.bool_],
        *,
        count: int,
        grid: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(ids[..., None], np.ones((*ids.shape, 1)), count=count, grid=grid, device=device)
        self._valid = torch.from_numpy(valid.ravel()[self._pixels]).to(self.device)

    def _prepare(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self._mean = self._mean_matrix(vertices, weights)

    def _values(self, logits: Tensor) -> Tensor:
        return self._mean @ torch.where(self._valid, logits.sigmoid(), logits)


def _bilinear_sampling(
    pixels: NDArray[np.int64], views: int, side: int, grid: int, device: torch.device
) -> SparseMatrix:
    """Sparse [P, J g g]: torch's bilinear upsampling from g to S (align_corners=False), at these pixels only."""
    source = np.maximum((np.arange(side) + 0.5) * (grid / side) - 0.5, 0.0)
    low = source.astype(np.int32)
    # Per coordinate: the two grid cells it lies between, and their weights.
    taps = np.stack([low, np.minimum(low + 1, grid - 1)], axis=1)
    shares = np.stack([1 - (source - low), source - low], axis=1).astype(np.float32)

    view, within = np.divmod(pixels, side**2)
    row, column = np.divmod(within, side)
    rows = taps[row] * grid + (view * grid**2).astype(np.int32)[:, None]
    columns = (rows[:, :, None] + taps[column][:, None, :]).ravel()
    values = (shares[row][:, :, None] * shares[column][:, None, :]).ravel()
    starts = np.arange(0, 4 * len(pixels) + 1, 4, dtype=np.int32)
    return SparseMatrix(csr_array((values, columns, starts), shape=(len(pixels), views * grid**2)), device=device)


def _sparse(rows: NDArray[np.int64], values: NDArray[np.float64], count: int, device: torch.device) -> SparseMatrix:
    """Sparse [count, P] with entries `values` [P, K] at (rows [P, K], pixel); equal places add up."""
    pixels, corners = rows.shape
    columns = np.repeat(np.arange(pixels, dtype=np.int32), corners)
    entries = (values.ravel().astype(np.float32), (rows.ravel().astype(np.int32), columns))
    return SparseMatrix(coo_array(entries, shape=(count, pixels)), device=device)
