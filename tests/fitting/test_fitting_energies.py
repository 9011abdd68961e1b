from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.batch import Contacts, SceneBatch, SizePrior
from interactvlm.fitting.energies.centroid import centroid_energy
from interactvlm.fitting.energies.contact import contact_energy
from interactvlm.fitting.energies.mask_iou import mask_iou_energy
from interactvlm.fitting.energies.size import size_energy
from interactvlm.fitting.energy import TERMS, energy_terms, total_energy
from interactvlm.fitting.poses import Poses


@pytest.fixture(scope="module")
def batch(make_scene: Callable) -> SceneBatch:
    scenes = [make_scene(seed).scene for seed in (0, 1)]
    return SceneBatch.build(scenes, [SizePrior(0.4, 0.1), None], side=24, points=12, dtype=torch.float64)


@pytest.fixture(scope="module")
def parameters(make_scene: Callable) -> Tensor:
    """Three poses near the true one of each scene."""
    known = [make_scene(seed) for seed in (0, 1)]
    true = torch.stack(
        [
            Poses(torch.tensor(one.rotation), torch.tensor(one.translation), torch.ones(()).double()).encode()
            for one in known
        ]
    )
    noise = torch.randn(2, 3, 10, generator=torch.Generator().manual_seed(0)).double()
    return true[:, None] + 0.05 * noise


@pytest.mark.parametrize("name", TERMS)
def test_every_gradient_agrees_with_finite_differences(batch: SceneBatch, parameters: Tensor, name: str) -> None:
    def energy(values: Tensor) -> Tensor:
        poses = Poses.decode(values).recentred(-batch.centre[:, None])
        return energy_terms(batch, poses, frozenset({name}))[name]

    start = parameters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(start).sum(), start)
    numeric = torch.zeros_like(gradient)
    for i in range(10):
        change = torch.zeros(10).double()
        change[i] = 1e-6
        numeric[..., i] = (energy(start + change) - energy(start - change)).detach() / 2e-6
    assert numeric[0].abs().max() > 1e-3
    torch.testing.assert_close(gradient, numeric, atol=1e-5 * float(numeric.abs().max()), rtol=1e-4)


def test_true_poses_have_little_energy(batch: SceneBatch, make_scene: Callable) -> None:
    known = [make_scene(seed) for seed in (0, 1)]
    true = Poses(
        torch.stack([torch.tensor(one.rotation) for one in known])[:, None],
        torch.stack([torch.tensor(one.translation) for one in known])[:, None],
        torch.ones(2, 1).double(),
    ).recentred(-batch.centre[:, None])
    terms = energy_terms(batch, true)
    assert terms["mask"].max() < 0.05
    assert terms["centroid"].max() < 0.01
    assert terms["contact"].max() < 0.06  # twelve points lie that far apart
    weights = {"mask": 2.0, "contact": 0.5}
    torch.testing.assert_close(total_energy(terms, weights), 2 * terms["mask"] + 0.5 * terms["contact"])
    assert total_energy({"mask": torch.tensor([[math.nan]])}, {"mask": 1.0}).item() == math.inf


def test_overlap_is_intersection_over_union() -> None:
    ours, mask = torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4)
    ours[..., :2], mask[..., 1:3] = 1, 1
    known = torch.ones(1, 4, 4)
    assert mask_iou_energy(ours, mask, known).item() == pytest.approx(1 - 4 / 12)
    assert mask_iou_energy(mask[:, None], mask, known).item() == 0
    assert mask_iou_energy(0.3 * mask[:, None], 0.3 * mask, known).item() == pytest.approx(0)
    assert mask_iou_energy(torch.zeros_like(ours), mask, known).item() == 1
    known[..., 0] = 0  # what lies behind somebody does not count
    assert mask_iou_energy(ours, mask, known).item() == pytest.approx(1 - 4 / 8)


def test_centroids_are_compared_in_sides_of_the_crop() -> None:
    one, other = torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8)
    one[0, 0, 2, 1:3] = 1
    other[0, 2, 5:7] = 1
    known, projected = torch.ones(1, 8, 8), torch.tensor([[[6.0, 2.5]]])
    assert centroid_energy(one, other, known, projected).item() == pytest.approx(4 / 8, rel=1e-2)
    assert centroid_energy(other[:, None], other, known, projected).item() == pytest.approx(0, abs=1e-3)
    empty = torch.zeros_like(one)
    assert centroid_energy(empty, other, known, projected).item() == pytest.approx(0, abs=1e-3)
    assert centroid_energy(empty, other, known, projected + 80).item() > 10


def contacts(points: list[list[float]], normals: list[list[float]], weights: list[float]) -> Contacts:
    return Contacts(*(torch.tensor([values], dtype=torch.float32) for values in (points, normals, weights)))


def test_contact_pairs_face_each_other_and_are_weighted() -> None:
    still = Poses(torch.eye(3)[None, None], torch.zeros(1, 1, 3), torch.ones(1, 1))
    up, down = [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]
    on_object = contacts([[0, 0, 0], [1, 0, 0], [5, 5, 5]], [up, up, up], [1.0, 0.5, 0.0])
    facing = contacts([[0, 0, 0.3], [1, 0, 0.6]], [down, down], [1.0, 1.0])
    expected = (1.0 * 0.3 + 0.5 * 0.6) / 1.5
    assert contact_energy(still, on_object, facing).item() == pytest.approx(expected, rel=1e-3)
    turned_away = contacts([[0, 0, 0.01], [0, 0, 0.05]], [up, down], [1.0, 1.0])
    first = contacts([[0, 0, 0]], [up], [1.0])
    assert contact_energy(still, first, turned_away).item() == pytest.approx(0.05, rel=1e-2)
    nobody = contacts([[0, 0, 1]], [down], [0.0])
    assert contact_energy(still, on_object, nobody).item() == 0


def test_pairs_that_never_face_count_all_the_same() -> None:
    still = Poses(torch.eye(3)[None, None], torch.zeros(1, 1, 3), torch.ones(1, 1))
    up = [0.0, 0.0, 1.0]
    one, other = contacts([[0, 0, 0]], [up], [1.0]), contacts([[0, 0, 0.2]], [up], [1.0])
    assert contact_energy(still, one, other).item() == pytest.approx(0.2, rel=1e-3)


def test_size_prior_is_log_normal() -> None:
    prior = SizePrior(2.0, 0.5)
    mean, deviation = prior.log_normal
    assert math.exp(mean + deviation**2 / 2) == pytest.approx(2.0)
    assert math.exp(2 * mean + deviation**2) * math.expm1(deviation**2) == pytest.approx(0.25)
    log_size = torch.tensor([[mean, deviation], [0.0, math.inf]])
    scale = torch.tensor([[math.exp(mean), math.exp(mean + deviation)], [1.0, 9.0]])
    energy = size_energy(scale, torch.ones(2), log_size)
    torch.testing.assert_close(energy, torch.tensor([[0.0, 0.5], [0.0, 0.0]]), atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="size: is"):
        SizePrior(0.0, 1.0)
