"""The training objective: one weighted sum over text, masks and surfaces (paper eq. 1, weights as released)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.mvloc.surfaces import SurfaceKind
from interactvlm.training.losses import (
    affordance_loss,
    dice_mask_loss,
    focal_mask_loss,
    squared_mask_loss,
    vertex_contact_loss,
)

__all__ = ["LossParts", "LossWeights", "SupervisedAnswer", "text_objective", "training_objective"]


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Factors of the objective.

    Attributes:
        text: cross entropy of the answer's words.
        mask_focal: focal loss on masks; also scales the squared error on affordance masks.
        mask_dice: Dice loss on masks.
        human: surface loss on the body.
        object_contact: surface loss on object meshes.
        affordance: surface loss on object points.
    """

    text: float = 1.0
    mask_focal: float = 2.0
    mask_dice: float = 1.0
    human: float = 3.0
    object_contact: float = 3.0
    affordance: float = 3.0


@dataclass(frozen=True, slots=True)
class SupervisedAnswer:
    """One answer's predictions with its ground truth.

    Attributes:
        surface: where the answer lies; points carry affordance heat, meshes contact.
        mask_logits: float [J, H, W].
        mask_target: like `mask_logits`: 1, 0, heat between them, or `losses.IGNORE`.
        probabilities: float [V], lifted from `mask_logits`.
        surface_target: float [V], contact or heat.
    """

    surface: SurfaceKind
    mask_logits: Tensor
    mask_target: Tensor
    probabilities: Tensor
    surface_target: Tensor


@dataclass(frozen=True, slots=True)
class LossParts:
    """The objective and its parts, weights included; scalar tensors, zero where the batch has no such answer."""

    total: Tensor
    text: Tensor
    mask_focal: Tensor
    mask_dice: Tensor
    mask_squared: Tensor
    human: Tensor
    object_contact: Tensor
    affordance: Tensor
    code: Tensor

    def with_code(self, code: Tensor) -> LossParts:
        """The same with the distance to the contact code in it."""
        return replace(self, total=self.total + code, code=code)


def training_objective(
    answers: Sequence[SupervisedAnswer], text_loss: Tensor, weights: LossWeights | None = None
) -> LossParts:
    """Combine the losses of one batch.

    Focal and Dice losses are averaged over all answers, the squared mask error over the affordance answers, and each
    surface loss over the answers of its surface.

    Args:
        answers: the supervised answers of the batch, at least one.
        text_loss: scalar, mean cross entropy over the batch's answer tokens.
        weights: factors; the released ones when None.

    Raises:
        InputError: when `answers` is empty or shapes within an answer differ.
    """
    if not answers:
        raise InputError("answers", "holds no answer, at least 1 is needed")
    for index, answer in enumerate(answers):
        _check_shapes(index, answer)
    weights = weights or LossWeights()
    zero = text_loss.new_zeros(())

    def surface_mean(surface: SurfaceKind) -> Tensor:
        loss = affordance_loss if surface is SurfaceKind.OBJECT_POINTS else vertex_contact_loss
        return _mean([loss(a.probabilities, a.surface_target) for a in answers if a.surface is surface], zero)

    heat = [squared_mask_loss(a.mask_logits, a.mask_target) for a in answers if a.surface is SurfaceKind.OBJECT_POINTS]
    text = weights.text * text_loss
    focal = weights.mask_focal * _mean([focal_mask_loss(a.mask_logits, a.mask_target) for a in answers], zero)
    dice = weights.mask_dice * _mean([dice_mask_loss(a.mask_logits, a.mask_target) for a in answers], zero)
    squared = weights.mask_focal * _mean(heat, zero)
    human = weights.human * surface_mean(SurfaceKind.BODY)
    contact = weights.object_contact * surface_mean(SurfaceKind.OBJECT_MESH)
    affordance = weights.affordance * surface_mean(SurfaceKind.OBJECT_POINTS)
    return LossParts(
        total=text + focal + dice + squared + human + contact + affordance,
        text=text,
        mask_focal=focal,
        mask_dice=dice,
        mask_squared=squared,
        human=human,
        object_contact=contact,
        affordance=affordance,
        code=zero,
    )


def text_objective(text_loss: Tensor, weights: LossWeights | None = None) -> LossParts:
    """The objective of a batch of words alone; arguments as `training_objective`."""
    text, zero = (weights or LossWeights()).text * text_loss, text_loss.new_zeros(())
    return LossParts(
        total=text,
        text=text,
        mask_focal=zero,
        mask_dice=zero,
        mask_squared=zero,
        human=zero,
        object_contact=zero,
        affordance=zero,
        code=zero,
    )


def _mean(losses: list[Tensor], zero: Tensor) -> Tensor:
    return torch.stack(losses).mean() if losses else zero


def _check_shapes(index: int, answer: SupervisedAnswer) -> None:
    for prediction, truth, name in (
        (answer.mask_logits, answer.mask_target, "mask"),
        (answer.probabilities, answer.surface_target, "surface"),
    ):
        if prediction.shape != truth.shape:
            problem = f"has a {name} prediction of shape {list(prediction.shape)} and a target of {list(truth.shape)}"
            raise InputError(f"answers[{index}]", problem)
