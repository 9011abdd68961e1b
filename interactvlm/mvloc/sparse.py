"""Sparse matrices that never change, for products with gradients.

torch transposes a sparse matrix anew, by sorting all its entries, whenever a gradient goes through a product with it;
here the transpose is prepared once, when the first gradient asks for it.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor

__all__ = ["SparseMatrix"]


class SparseMatrix:
    """A float32 matrix in CSR form with 32-bit indices; `matrix @ dense` is differentiable in the dense side.

    Args:
        entries: the matrix; equal places add up.
        device: where to compute.
    """

    def __init__(self, entries: coo_array | csr_array, *, device: torch.device) -> None:
        self._stored: csr_array = entries.tocsr()
        self._device = device
        self.tensor = _tensor(self._stored, device)

    @property
    def nbytes(self) -> int:
        """Bytes that one product reads of it."""
        parts = (self.tensor.crow_indices(), self.tensor.col_indices(), self.tensor.values())
        return sum(part.nbytes for part in parts)

    @cached_property
    def transposed(self) -> Tensor:
        """The transpose, sparse CSR."""
        return _tensor(self._stored.T.tocsr(), self._device)

    def __matmul__(self, dense: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and dense.requires_grad):
            return self.tensor @ dense
        product: Tensor = _Product.apply(dense, self)
        return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.tensor @ dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.transposed @ gradient, None


def _tensor(matrix: csr_array, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32, copy=False)).to(device),
            torch.from_numpy(matrix.indices.astype(np.int32, copy=False)).to(device),
            torch.from_numpy(matrix.data.astype(np.float32, copy=False)).to(device),
            size=matrix.shape,
            check_invariants=False,
        )
