from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InputError
from interactvlm.training.config import PhasePart, TrainingConfig
from interactvlm.training.regions.code import ContactCode, vertex_patches
from interactvlm.training.run import OpenedRun

TinyRun = Callable[..., OpenedRun]


def test_patches_are_small_and_cover_the_body(tiny_body: BodyTemplate) -> None:
    patch_of = vertex_patches(tiny_body.vertices, count=64)
    assert np.array_equal(np.unique(patch_of), np.arange(64))
    extents = [np.ptp(tiny_body.vertices[patch_of == patch], axis=0).max() for patch in range(64)]
    assert max(extents) < 0.5 * np.ptp(tiny_body.vertices, axis=0).max()
    few = vertex_patches(tiny_body.vertices[:3], count=64)
    assert sorted(few) == [0, 1, 2]


def test_a_code_depends_on_where_contact_is(tiny_body: BodyTemplate) -> None:
    torch.manual_seed(0)
    code = ContactCode(vertex_patches(tiny_body.vertices, count=32), channels=16)
    contact = torch.zeros(3, tiny_body.vertex_count)
    contact[0, :200] = contact[1, :200] = contact[2, -200:] = 1
    made = code(contact)
    assert made.shape == (3, 16)
    assert torch.allclose(made.mean(1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(made.std(1, unbiased=False), torch.ones(3), atol=0.05)
    assert torch.equal(made[0], made[1])
    assert not torch.allclose(made[0], made[2], atol=0.1)


@pytest.fixture
def with_regions(tiny_run: TinyRun) -> Callable[..., OpenedRun]:
    def make(folder: str = "run", **steps: Any) -> OpenedRun:
        part = {"steps": 4, "photos": 2, "rate": 1e-3, "warmup": 1}
        return tiny_run(folder, regions=part, model={"neck": True, "start": "fresh"}, **steps)

    return make


def test_masks_are_learned_from_labels_alone(with_regions: Callable[..., OpenedRun]) -> None:
    run = with_regions()
    (phase,) = run.phases
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    first = phase._loss(0).total.item()
    assert phase.run().step == 4
    assert phase._loss(0).total.item() < first
    changed = {n.split(".")[0] for n, p in run.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"gate", "neck", "human_predictor"}


def test_the_joint_phase_draws_contact_tokens_to_the_code(with_regions: Callable[..., OpenedRun]) -> None:
    run = with_regions(masks=0.0, code=2.0, steps=2, parts_dropout=0.0)
    assert run.run(resume=False) is not None
    (examples,) = run.trainer._batches.draw(0)
    assert any(example.body_contact is not None for example in examples)
    assert all(example.surface is None for example in examples)
    parts = run.model(examples)
    assert parts.code > 0
    assert parts.total.item() == pytest.approx((parts.text + parts.code).item(), rel=1e-5)
    parts.code.backward()
    gamma = run.model.network.model.text_hidden_fcs[0][2].weight
    assert gamma.grad is not None
    assert gamma.grad.abs().sum() > 0
    assert not any(name.startswith("code.") for name, _ in run.model.named_parameters())


def test_a_phase_must_be_possible() -> None:
    raw = {"data": [{"kind": "damon", "path": "."}], "run": {"folder": "x"}, "regions": {"steps": -1}}
    with pytest.raises(InputError, match="regions"):
        TrainingConfig.from_dict(raw)
    assert PhasePart().steps == 0
