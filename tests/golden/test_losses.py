from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interactvlm.mvloc.lift import MeshLift, PointLift, SoftLift
from interactvlm.mvloc.surfaces import SurfaceKind
from interactvlm.training.losses import (
    affordance_loss,
    dice_mask_loss,
    focal_mask_loss,
    squared_mask_loss,
    vertex_contact_loss,
)
from interactvlm.training.objective import SupervisedAnswer, training_objective

HUMAN_VIEWS = ("topfront", "bottomfront", "topback", "bottomback")
OBJECT_VIEWS = ("frontleft", "frontright", "backleft", "backright")
VALUE = 1e-5
GRADIENT = 1e-4


@dataclass(frozen=True)
class Recorded:
    values: dict
    arrays: dict[str, np.ndarray]
    lifts: tuple

    def logits(self, sample: int) -> Tensor:
        return torch.from_numpy(self.arrays["logits"][sample].copy()).requires_grad_()

    def masks(self, sample: int) -> Tensor:
        return torch.from_numpy(self.arrays["gt_masks"][sample])

    def surface_target(self, sample: int) -> Tensor:
        return torch.from_numpy(self.arrays[f"gt_3d_{('human0', 'human1', 'mesh', 'points')[sample]}"])

    def lift(self, sample: int, logits: Tensor) -> Tensor:
        return self.lifts[sample](logits)


@pytest.fixture(scope="module")
def recorded(golden: Path, only: Callable[[str], Path]) -> Recorded:
    arrays = dict(np.load(only("losses/losses_*.npz")))
    body_ids = np.load(only("body/pixel_to_vertex_map_*.npz"))
    body_weights = np.load(only("body/bary_coords_map_*.npz"))
    mesh = [np.load(only(f"object_mesh/p2vmap_{view}_*.npz")) for view in OBJECT_VIEWS]
    points = [np.load(only(f"object_points/p2pmap_{view}_*.npz"))["mapping"] for view in OBJECT_VIEWS]

    side = arrays["logits"].shape[-1]
    body_count, point_count = len(arrays["gt_3d_human0"]), len(arrays["gt_3d_points"])
    on_body = SoftLift(
        np.stack([body_ids[v] for v in HUMAN_VIEWS]),
        np.stack([body_weights[v] for v in HUMAN_VIEWS]),
        count=body_count,
        grid=side,
    )
    on_points = PointLift(np.stack(points), arrays["gt_masks"][3] >= 0, count=point_count, grid=side)
    on_mesh = MeshLift(
        np.stack([m["pixel_to_vertices_map"] for m in mesh]),
        np.stack([m["bary_coords_map"] for m in mesh]),
        count=int(mesh[0]["num_vertices"]),
        grid=side,
    )
    lifts = (
        lambda x: on_body(x[None])[0],
        lambda x: on_body(x[None])[0],
        lambda x: on_mesh(x[None])[0],
        lambda x: on_points(x[None])[0],
    )
    return Recorded(json.loads((golden / "losses" / "losses.json").read_text()), arrays, lifts)


def assert_gradient(recorded: Recorded, name: str, gradient: Tensor) -> None:
    expected = recorded.arrays[f"grad_{name}_s4"]
    limit = GRADIENT * max(float(np.abs(expected).max()), 1e-12)
    assert np.abs(gradient[:, 1::4, 2::4].numpy() - expected).max() <= limit
    norms = recorded.arrays[f"grad_{name}_norm"]
    np.testing.assert_allclose(gradient.flatten(1).norm(dim=1).numpy(), norms, rtol=1e-4, atol=GRADIENT * norms.max())


@pytest.mark.parametrize("sample", range(4))
@pytest.mark.parametrize(("name", "loss"), [("focal", focal_mask_loss), ("dice", dice_mask_loss)])
def test_mask_loss_and_its_gradient(recorded: Recorded, name: str, loss, sample: int) -> None:
    logits = recorded.logits(sample)
    value = loss(logits, recorded.masks(sample))
    value.backward()
    assert value.item() == pytest.approx(recorded.values[f"{name}_{sample}"], rel=VALUE)
    assert logits.grad is not None
    assert_gradient(recorded, f"{name}_{sample}_{sample}", logits.grad)


def test_squared_mask_loss_and_its_gradient(recorded: Recorded) -> None:
    logits = recorded.logits(3)
    value = squared_mask_loss(logits, recorded.masks(3))
    value.backward()
    assert value.item() == pytest.approx(recorded.values["mse_3"], rel=VALUE)
    assert logits.grad is not None
    assert_gradient(recorded, "mse_3_3", logits.grad)


def test_human_loss_reaches_the_masks_through_the_lift(recorded: Recorded) -> None:
    logits = [recorded.logits(0), recorded.logits(1)]
    probabilities = torch.stack([recorded.lift(i, x) for i, x in enumerate(logits)])
    value = vertex_contact_loss(probabilities, torch.stack([recorded.surface_target(i) for i in (0, 1)]))
    value.backward()
    assert value.item() == pytest.approx(recorded.values["hC"], rel=VALUE)
    for i in (0, 1):
        gradient = logits[i].grad
        assert gradient is not None
        assert_gradient(recorded, f"hC_{i}", gradient)


@pytest.mark.parametrize(
    ("sample", "loss", "value_name", "gradient_name"),
    [(2, vertex_contact_loss, "oC", "oC_2"), (3, affordance_loss, "oA_intended", "oA_intended_3")],
)
def test_object_loss_reaches_the_masks_through_the_lift(
    recorded: Recorded, sample: int, loss, value_name: str, gradient_name: str
) -> None:
    logits = recorded.logits(sample)
    value = loss(recorded.lift(sample, logits), recorded.surface_target(sample))
    value.backward()
    assert value.item() == pytest.approx(recorded.values[value_name], rel=VALUE)
    assert logits.grad is not None
    assert_gradient(recorded, gradient_name, logits.grad)


def test_affordance_term_as_released_is_a_constant(recorded: Recorded) -> None:
    target = recorded.surface_target(3)
    value = affordance_loss(torch.zeros_like(target), target)
    assert value.item() == pytest.approx(recorded.values["oA_as_released"], rel=VALUE)


def test_combined_objective(recorded: Recorded) -> None:
    surfaces = (SurfaceKind.BODY, SurfaceKind.BODY, SurfaceKind.OBJECT_MESH, SurfaceKind.OBJECT_POINTS)
    logits = [recorded.logits(i) for i in range(4)]
    # The release compares the affordance target with zeros.
    probabilities = [recorded.lift(i, logits[i]) for i in range(3)] + [torch.zeros_like(recorded.surface_target(3))]
    answers = [
        SupervisedAnswer(surfaces[i], logits[i], recorded.masks(i), probabilities[i], recorded.surface_target(i))
        for i in range(4)
    ]
    parts = training_objective(answers, torch.zeros(()))
    parts.total.backward()
    expected = recorded.values["combined_parts"]
    assert parts.total.item() == pytest.approx(expected["total"], rel=VALUE)
    assert parts.mask_focal.item() == pytest.approx(expected["mask_bce"], rel=VALUE)
    assert parts.mask_dice.item() == pytest.approx(expected["mask_dice"], rel=VALUE)
    assert parts.mask_squared.item() == pytest.approx(expected["mask_l2"], rel=VALUE)
    assert parts.human.item() == pytest.approx(expected["hC"], rel=VALUE)
    assert parts.object_contact.item() == pytest.approx(expected["oC"], rel=VALUE)
    assert parts.affordance.item() == pytest.approx(expected["oA"], rel=VALUE)
    for i in range(4):
        gradient = logits[i].grad
        assert gradient is not None
        assert_gradient(recorded, f"combined_total_{i}", gradient)
