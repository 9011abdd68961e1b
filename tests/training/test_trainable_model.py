from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import InputError
from interactvlm.mvloc.camera_gate import build_camera_gate
from interactvlm.mvloc.decoder import MaskPredictor, build_mask_decoder, build_prompt_encoder
from interactvlm.mvloc.lift import PointLift, SoftLift
from interactvlm.mvloc.splitter import AttentionSplitter
from interactvlm.mvloc.surfaces import Surface, SurfaceKind, SurfaceViews
from interactvlm.training.losses import IGNORE
from interactvlm.training.model import IGNORED_LABEL, IMAGE_TOKEN, TrainableModel, TrainingExample
from interactvlm.training.targets import mask_target
from interactvlm.vlm.network import ContactNetwork

GRID, SIDE, VERTICES = 4, 16, 9


def views() -> SurfaceViews:
    generator = np.random.default_rng(0)
    ids = generator.integers(0, VERTICES, (4, SIDE, SIDE, 3)).astype(np.int32)
    ids[:, :4] = -1
    valid = ids[..., 0] >= 0
    weights = np.full(ids.shape, 1 / 3, np.float32)
    images = np.zeros((*valid.shape, 3), np.uint8)
    return SurfaceViews("test", SurfaceKind.BODY, images, valid, ids, weights, VERTICES)


def surface(kind: SurfaceKind) -> Surface:
    seen = views()
    lift: Any = SoftLift(seen.ids, seen.weights, count=VERTICES, grid=4 * GRID)
    if kind is SurfaceKind.OBJECT_POINTS:
        lift = PointLift(seen.ids[..., 0], seen.valid, count=VERTICES, grid=4 * GRID)
    return Surface("test", kind, torch.randn(4, 256, GRID, GRID), lift, seen.valid)


def model(*, with_splitter: bool = False) -> TrainableModel:
    torch.manual_seed(0)
    config = ReleaseConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=30,
        mm_hidden_size=8,
        seg_token_idx=29,
    )
    predictor = MaskPredictor(prompt_encoder=build_prompt_encoder(GRID), mask_decoder=build_mask_decoder())
    return TrainableModel(
        config=config,
        network=ContactNetwork(config),
        gate=build_camera_gate(config),
        splitter=AttentionSplitter() if with_splitter else None,
        human_predictor=predictor,
        object_predictor=predictor,
    )


def example(length: int = 8, *, on: Surface | None = None) -> TrainingExample:
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(3, 28, (length,), generator=generator)
    ids[1], ids[-2] = IMAGE_TOKEN, 29
    labels = ids.clone()
    labels[:3] = IGNORED_LABEL
    return TrainingExample(
        input_ids=ids,
        labels=labels,
        image_features=torch.randn(5, 8, generator=generator),
        contact_position=length - 2,
        contact_token="[SEG]",
        surface=on or surface(SurfaceKind.BODY),
        mask_target=mask_target(views(), np.arange(VERTICES) < 4),
        surface_target=(torch.arange(VERTICES) < 4).float(),
    )


def test_padding_and_company_do_not_change_an_example() -> None:
    trained, body = model(), surface(SurfaceKind.BODY)
    short, long = example(7, on=body), example(11, on=body)
    alone = [trained([one]) for one in (short, long)]
    together = trained([short, long])
    for part in ("mask_focal", "mask_dice", "human"):
        mean = sum(getattr(one, part) for one in alone) / 2
        torch.testing.assert_close(getattr(together, part), mean, atol=1e-5, rtol=1e-4)
    # The text loss is the mean over tokens, not over examples: 4 and 8 of them here.
    torch.testing.assert_close(together.text, (alone[0].text * 4 + alone[1].text * 8) / 12, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("with_splitter", [False, True])
def test_a_mixed_batch_trains_every_part(with_splitter: bool) -> None:
    trained = model(with_splitter=with_splitter)
    points = replace(example(9, on=surface(SurfaceKind.OBJECT_POINTS)), contact_token="[OSEG]")
    parts = trained([replace(example(8), contact_token="[HSEG]"), points])
    parts.total.backward()
    assert parts.human.item() > 0
    assert parts.affordance.item() > 0
    assert parts.mask_squared.item() > 0
    for name, parameter in trained.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    reached = [trained.gate, trained.network.model.text_hidden_fcs, trained.network.model.embed_tokens]
    reached += [trained.splitter] if trained.splitter is not None else []
    assert all(p.grad is not None and p.grad.abs().max() > 0 for part in reached for p in part.parameters())


def test_mask_target_counts_corners() -> None:
    seen = views()
    contact = np.arange(VERTICES) < 4
    target = mask_target(seen, contact).numpy()
    corners = contact[seen.ids].sum(-1)
    np.testing.assert_array_equal(target == IGNORE, ~seen.valid)
    np.testing.assert_array_equal(target == 1, seen.valid & (corners >= 2))
    strict = mask_target(seen, contact, corners=3).numpy()
    np.testing.assert_array_equal(strict == 1, seen.valid & (corners == 3))


def broken(**changes: Any) -> TrainingExample:
    return replace(example(), **changes)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([], "examples: is empty"),
        ([broken(labels=torch.zeros(3, dtype=torch.int64))], r"examples\[0\]: has ids of shape"),
        ([broken(input_ids=torch.ones(8, dtype=torch.int64))], "has 0 image tokens"),
        ([broken(contact_position=0)], "has its contact token at 0"),
        ([broken(contact_position=8)], "has its contact token at 8"),
        ([broken(labels=torch.full((8,), IGNORED_LABEL))], "has no label to predict"),
        ([broken(surface_target=torch.ones(3))], r"answers\[0\]: has a surface prediction"),
    ],
)
def test_a_broken_example_is_named(batch: list[TrainingExample], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model()(batch)


def test_contact_of_another_surface_is_named() -> None:
    with pytest.raises(InputError, match=r"contact: has shape \[3\] for a surface of 9 vertices"):
        mask_target(views(), np.ones(3, bool))
    seen = views()
    points = SurfaceViews(
        seen.identity, seen.kind, seen.images, seen.valid, seen.ids[..., :1], seen.weights[..., :1], seen.count
    )
    with pytest.raises(InputError, match="point cloud"):
        mask_target(points, np.ones(VERTICES, bool))
