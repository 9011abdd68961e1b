"""Rotations as matrices and as six numbers (Zhou et al., On the Continuity of Rotation Representations, 2019).

The six numbers are the first two columns of the matrix, row by row: [R00, R01, R10, R11, R20, R21]. Matrices act on
row vectors from the right, x' = x R.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from interactvlm.errors import InputError

__all__ = ["rotation_angle", "rotation_from_6d", "rotation_to_6d", "spread_rotations"]


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


def rotation_angle(one: Tensor, other: Tensor) -> Tensor:
    """The angle [...] of the rotation between two [..., 3, 3], radians in [0, pi].

    By `2 asin(|A - B|_F / (2 sqrt 2))`, which keeps its precision at small angles.
    """
    chord = (one - other).square().sum((-2, -1)).sqrt()
    return 2 * torch.asin((chord / (2 * math.sqrt(2))).clamp(max=1))


def spread_rotations(count: int, *, seed: int) -> Tensor:
    """`count` rotations [count, 3, 3], float64, spread evenly over all of SO(3), turned as a whole by a random one.

    Source: Alexa, Super-Fibonacci Spirals, CVPR 2022.

    Raises:
        InputError: when `count` is below 1.
    """
    if count < 1:
        raise InputError("count", f"is {count}, at least 1 rotation is needed")
    phi, psi = math.sqrt(2), 1.533751168755204288118041
    step = torch.arange(count, dtype=torch.float64) + 0.5
    inner, outer = (step / count).sqrt(), (1 - step / count).sqrt()
    alpha, beta = 2 * math.pi * step / phi, 2 * math.pi * step / psi
    quaternions = torch.stack([inner * alpha.sin(), inner * alpha.cos(), outer * beta.sin(), outer * beta.cos()], -1)
    turn = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return _from_quaternion(quaternions) @ _from_quaternion(turn / turn.norm())


def _from_quaternion(quaternion: Tensor) -> Tensor:
    x, y, z, w = quaternion.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
