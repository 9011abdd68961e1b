"""Losses of contact training (paper section 3.4, eq. 1-6; coefficients as released).

Shapes: B samples, J views, H x W mask pixels, V vertices (or points) of one surface. Everything is torch, floating
point, and differentiable in its first argument; every function returns a scalar tensor.

Mask losses see logits. A mask target holds 1 (contact), 0 (no contact), anything between for affordance heat, and
`IGNORE` where the render shows background: such pixels count in nothing. Surface losses see probabilities after the
lift, so that their gradient reaches the masks through it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "IGNORE",
    "affordance_loss",
    "dice_mask_loss",
    "focal_mask_loss",
    "object_contact_loss",
    "squared_mask_loss",
    "vertex_contact_loss",
]

IGNORE = -1.0
"""Mask target of a pixel outside the rendered outline."""

_LOG_FLOOR = 1e-6


def focal_mask_loss(logits: Tensor, target: Tensor, *, alpha: float = 0.5, gamma: float = 2.0) -> Tensor:
    """Focal binary cross entropy on valid pixels (paper eq. 2).

    The mean over a view's valid pixels, then over all views: a view without valid pixels adds zero and still counts.
    For soft targets the focusing factor is (1 - exp(-CE))^gamma, as released.

    Args:
        logits: [..., J, H, W].
        target: like `logits`, in [0, 1] or `IGNORE`.
        alpha: weight of positive pixels; negative ones weigh 1 - alpha.
        gamma: focusing exponent.
    """
    valid, truth = _split_target(target)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    balance = alpha * truth + (1.0 - alpha) * (1.0 - truth)
    return _mean_of_view_means(balance * (1.0 - torch.exp(-entropy)) ** gamma * entropy, valid)


def dice_mask_loss(logits: Tensor, target: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Dice loss on valid pixels, zero for views without any contact in the target (paper eq. 3).

    Args:
        logits: [..., J, H, W].
        target: like `logits`, in [0, 1] or `IGNORE`.
        epsilon: added to numerator and denominator.
    """
    valid, truth = _split_target(target)
    probability = torch.sigmoid(logits) * valid
    overlap = (probability * truth).sum((-2, -1))
    mass = truth.sum((-2, -1))
    loss = 1.0 - (2.0 * overlap + epsilon) / (probability.sum((-2, -1)) + mass + epsilon)
    return torch.where(mass > 0, loss, torch.zeros_like(loss)).mean()


def squared_mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of mask probabilities on valid pixels, for affordance heat (release).

    Args:
        logits: [..., J, H, W].
        target: like `logits`, in [0, 1] or `IGNORE`.
    """
    valid, truth = _split_target(target)
    return _mean_of_view_means((torch.sigmoid(logits) - truth) ** 2, valid)


def vertex_contact_loss(
    probabilities: Tensor, target: Tensor, *, alpha: float = 0.25, gamma: float = 2.0, sparsity: float = 0.01
) -> Tensor:
    """Focal loss on lifted probabilities plus an L1 sparsity term (paper eq. 5, L_C^H; release).

    The release uses it for contact on the body and, unlike the paper's eq. 6, on object meshes too. There `alpha`
    scales both classes alike. Vertices that no view sees carry probability 0 and are counted.

    Args:
        probabilities: [..., V] in [0, 1].
        target: like `probabilities`.
        alpha: factor of the focal term.
        gamma: focusing exponent.
        sparsity: factor of the mean absolute probability.
    """
    bounded = probabilities.clamp(_LOG_FLOOR, 1.0 - _LOG_FLOOR)
    entropy = functional.binary_cross_entropy(bounded, target, reduction="none")
    focal = alpha * (1.0 - torch.exp(-entropy)) ** gamma * entropy
    return focal.mean() + sparsity * probabilities.abs().mean()


def affordance_loss(probabilities: Tensor, target: Tensor) -> Tensor:
    """Affordance heat on object points: 0.5 focal + 0.3 two-sided Dice + 0.8 squared + 0.4 absolute error (release).

    The focal part is asymmetric (.25 for touched, .75 for untouched points, gamma 2); the Dice part is
    1.5 - dice+ - dice-, each without the usual factor 2, and reaches 0.5 at best.

    The released training step never passes predictions here (it skips every sample and compares zeros): its term is
    `affordance_loss(torch.zeros_like(target), target)`, a constant without gradient.

    Args:
        probabilities: [..., V] in [0, 1].
        target: like `probabilities`, heat in [0, 1].
    """
    missed = 1.0 - probabilities
    free = 1.0 - target
    touched = missed**2 * target * torch.log(probabilities + _LOG_FLOOR)
    untouched = probabilities**2 * free * torch.log(missed + _LOG_FLOOR)
    focal = -(0.25 * touched + 0.75 * untouched).mean()
    dice = (1.5 - _half_dice(probabilities, target) - _half_dice(missed, free)).mean()
    error = probabilities - target
    return 0.5 * focal + 0.3 * dice + 0.8 * error.square().mean() + 0.4 * error.abs().mean()


def object_contact_loss(probabilities: Tensor, target: Tensor, *, beta: float, epsilon: float = 1e-5) -> Tensor:
    """Object loss as the paper prints it: Dice + beta * MSE (paper eq. 6, L_C^O).

    The published checkpoints were trained with `vertex_contact_loss` (meshes) and `affordance_loss` (points) instead.

    Args:
        probabilities: [..., V] in [0, 1].
        target: like `probabilities`.
        beta: weight of the squared error; the paper gives no number.
        epsilon: added to numerator and denominator of Dice.
    """
    overlap = (probabilities * target).sum(-1)
    dice = 1.0 - (2.0 * overlap + epsilon) / (probabilities.sum(-1) + target.sum(-1) + epsilon)
    return dice.mean() + beta * (probabilities - target).square().mean()


def _split_target(target: Tensor) -> tuple[Tensor, Tensor]:
    valid = (target >= 0).to(target.dtype)
    return valid, target.clamp_min(0.0)


def _mean_of_view_means(values: Tensor, valid: Tensor) -> Tensor:
    pixels = valid.sum((-2, -1)).clamp_min(1.0)
    return ((values * valid).sum((-2, -1)) / pixels).mean()


def _half_dice(a: Tensor, b: Tensor) -> Tensor:
    return ((a * b).sum(-1) + _LOG_FLOOR) / (a.abs().sum(-1) + b.abs().sum(-1) + _LOG_FLOOR)
