"""Rotations as six numbers (Zhou et al., On the Continuity of Rotation Representations, 2019).

The six numbers are the first two columns of the matrix, row by row: [R00, R01, R10, R11, R20, R21]. Matrices act on
row vectors from the right, x' = x R.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from interactvlm.errors import InputError

__all__ = ["rotation_from_6d", "rotation_to_6d"]


def rotation_from_6d(six: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] from any six numbers [..., 6], by Gram-Schmidt; differentiable.

    Raises:
        InputError: when the last axis is not 6 long.
    """
    if six.shape[-1:] != (6,):
        raise InputError("rotation", f"has shape {list(six.shape)}, the last axis must be 6 long")
    columns = six.unflatten(-1, (3, 2))
    first = functional.normalize(columns[..., 0], dim=-1)
    second = columns[..., 1] - (first * columns[..., 1]).sum(-1, keepdim=True) * first
    second = functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def rotation_to_6d(rotation: Tensor) -> Tensor:
    """The six numbers [..., 6] of rotation matrices [..., 3, 3].

    Raises:
        InputError: when the last two axes are not 3 x 3.
    """
    if rotation.shape[-2:] != (3, 3):
        raise InputError("rotation", f"has shape {list(rotation.shape)}, the last two axes must be 3 x 3")
    return rotation[..., :2].flatten(-2)
