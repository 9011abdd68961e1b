from __future__ import annotations

import math

import pytest
import torch

from interactvlm.errors import InputError
from interactvlm.mvloc.surfaces import SurfaceKind
from interactvlm.training.losses import (
    IGNORE,
    affordance_loss,
    dice_mask_loss,
    focal_mask_loss,
    object_contact_loss,
    squared_mask_loss,
    vertex_contact_loss,
)
from interactvlm.training.objective import LossWeights, SupervisedAnswer, training_objective

MASK_LOSSES = [focal_mask_loss, dice_mask_loss, squared_mask_loss]


@pytest.mark.parametrize("loss", MASK_LOSSES)
def test_ignored_pixels_change_nothing_and_get_no_gradient(loss) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 6, generator=generator)
    target = (torch.rand(2, 5, 6, generator=generator) > 0.5).float()
    target[:, :2] = IGNORE
    changed = logits.clone()
    changed[:, :2] += 7.0
    changed.requires_grad_()
    value = loss(changed, target)
    value.backward()
    assert value.item() == pytest.approx(loss(logits, target).item())
    assert changed.grad is not None
    assert changed.grad[:, :2].abs().max() == 0
    assert changed.grad[:, 2:].abs().max() > 0


@pytest.mark.parametrize("loss", MASK_LOSSES)
def test_a_view_without_valid_pixels_adds_zero_and_still_counts(loss) -> None:
    logits = torch.linspace(-1, 1, 12).reshape(1, 3, 4)
    target = torch.ones(1, 3, 4)
    both = loss(torch.cat([logits, logits]), torch.cat([target, torch.full_like(target, IGNORE)]))
    assert both.item() == pytest.approx(loss(logits, target).item() / 2)


def test_focal_loss_of_an_undecided_pixel() -> None:
    value = focal_mask_loss(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    assert value.item() == pytest.approx(0.5 * 0.25 * math.log(2))


def test_dice_loss_is_zero_without_contact_and_for_a_perfect_mask() -> None:
    target = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    assert dice_mask_loss(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)).item() == 0
    assert dice_mask_loss((target - 0.5) * 200, target).item() == pytest.approx(0, abs=1e-6)


def test_surface_losses_fall_towards_the_truth() -> None:
    target = torch.tensor([0.0, 1.0, 1.0, 0.0])
    wrong, close = 1 - target, (target * 0.98 + 0.01)
    assert vertex_contact_loss(close, target) < vertex_contact_loss(wrong, target)
    assert affordance_loss(close, target) < affordance_loss(wrong, target)
    assert object_contact_loss(close, target, beta=1.0) < object_contact_loss(wrong, target, beta=1.0)


def test_printed_object_loss_is_dice_plus_beta_times_squared_error() -> None:
    target, probabilities = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    value = object_contact_loss(probabilities, target, beta=2.0, epsilon=0.0)
    assert value.item() == pytest.approx(0.5 + 2.0 * 0.25)


def test_surface_losses_have_finite_gradients_at_certainty() -> None:
    for loss in (vertex_contact_loss, affordance_loss):
        probabilities = torch.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
        loss(probabilities, torch.tensor([0.0, 0.0, 1.0, 1.0])).backward()
        assert probabilities.grad is not None
        assert torch.isfinite(probabilities.grad).all()


def answer(surface: SurfaceKind) -> SupervisedAnswer:
    masks = torch.zeros(1, 2, 2, requires_grad=True)
    return SupervisedAnswer(surface, masks, torch.ones(1, 2, 2), torch.full((3,), 0.5), torch.ones(3))


def test_objective_averages_each_surface_over_its_own_answers() -> None:
    alone = training_objective([answer(SurfaceKind.BODY)], torch.tensor(1.0))
    mixed = training_objective([answer(s) for s in (*SurfaceKind, SurfaceKind.BODY)], torch.tensor(1.0))
    assert mixed.human.item() == pytest.approx(alone.human.item())
    assert alone.object_contact.item() == 0
    assert alone.affordance.item() == 0
    assert alone.mask_squared.item() == 0
    assert mixed.affordance.item() > 0
    parts = (mixed.text, mixed.mask_focal, mixed.mask_dice, mixed.mask_squared)
    surfaces = (mixed.human, mixed.object_contact, mixed.affordance)
    assert mixed.total.item() == pytest.approx(sum(p.item() for p in (*parts, *surfaces)), rel=1e-6)


def test_weights_scale_their_terms() -> None:
    weights = LossWeights(text=0.5, human=6.0)
    parts = training_objective([answer(SurfaceKind.BODY)], torch.tensor(1.0), weights)
    released = training_objective([answer(SurfaceKind.BODY)], torch.tensor(1.0))
    assert parts.text.item() == 0.5
    assert parts.human.item() == pytest.approx(2 * released.human.item())


def test_objective_names_what_is_wrong() -> None:
    with pytest.raises(InputError, match="answers: holds no answer"):
        training_objective([], torch.tensor(1.0))
    broken = SupervisedAnswer(
        SurfaceKind.BODY, torch.zeros(1, 2, 2), torch.ones(1, 2, 2), torch.full((3,), 0.5), torch.ones(4)
    )
    with pytest.raises(
        InputError, match=r"answers\[0\]: has a surface prediction of shape \[3\] and a target of \[4\]"
    ):
        training_objective([broken], torch.tensor(1.0))
