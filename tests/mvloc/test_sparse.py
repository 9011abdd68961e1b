from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array

from interactvlm.mvloc.sparse import SparseMatrix


@pytest.fixture
def entries() -> coo_array:
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 30, 200), rng.integers(0, 50, 200)  # some places twice
    return coo_array((rng.normal(size=200).astype(np.float32), (rows, columns)), shape=(30, 50))


def test_products_and_gradients_are_the_dense_ones(entries: coo_array) -> None:
    matrix, dense = SparseMatrix(entries, device=torch.device("cpu")), torch.from_numpy(entries.toarray())
    x = torch.randn(50, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weights = torch.randn(30, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(matrix @ x, dense @ x)
    ((matrix @ x) * weights).sum().backward()
    torch.testing.assert_close(x.grad, dense.T @ weights)


def test_the_transpose_is_made_for_the_first_gradient_only(entries: coo_array) -> None:
    matrix, x = SparseMatrix(entries, device=torch.device("cpu")), torch.randn(50)
    assert not (matrix @ x).requires_grad
    with torch.no_grad():
        _ = matrix @ x.clone().requires_grad_()
    assert "transposed" not in vars(matrix)
    for _ in range(2):
        (matrix @ x.clone().requires_grad_()).sum().backward()
        first = vars(matrix)["transposed"]
    assert first is matrix.transposed
    assert matrix.nbytes == 4 * 31 + 8 * matrix.tensor.values().numel()
