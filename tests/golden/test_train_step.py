from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.mvloc.surfaces import OfficialBody, body_cameras, body_views
from interactvlm.training.model import TrainableModel, TrainingExample
from interactvlm.training.objective import LossParts
from interactvlm.training.targets import mask_target
from interactvlm.vlm.vision import VisionTower

VALUE = 1e-5
GRADIENT_NORM = 1e-3
# Rounding in a float32 mask decoder alone moves gradients by up to 1.4e-4 of their maximum against float64.
GRADIENT = {torch.float64: 1e-4, torch.float32: 3e-4}
ADAPTED_BY_LORA = ("q_proj", "v_proj")
Samples = dict[str, list[tuple[dict[str, Any], dict[str, np.ndarray]]]]


@dataclass(frozen=True)
class Step:
    dtype: torch.dtype
    norms: dict[str, float]
    parts: LossParts
    gradients: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def recorded(golden: Path) -> dict[str, np.ndarray]:
    return dict(np.load(golden / "contact_expected" / "train_step.npz"))


@pytest.fixture(scope="module")
def examples(
    golden: Path,
    only: Callable[[str], Path],
    release: dict[str, Path],
    official_body: OfficialBody,
    samples: Samples,
    recorded: dict[str, np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[TrainingExample]:
    config = ReleaseConfig.from_folder(release["contact"])
    tower = VisionTower.from_folder(
        only("clip-vit-*"),
        select_layer=config.mm_vision_select_layer,
        pool=config.vision_pool,
        device="cpu",
        dtype=torch.float32,
    )
    localizer = ContactLocalizer.from_folder(
        release["contact"], body=official_body, cache_dir=tmp_path_factory.mktemp("embeddings")
    )
    views, surface = body_views(official_body, 0), localizer.body

    made = []
    for index, (sample, _) in enumerate(samples["contact"][: len(recorded["input_ids"])]):
        kept = recorded["attention_mask"][index]
        ids, labels = (torch.from_numpy(recorded[k][index][kept]).long() for k in ("input_ids", "labels"))
        photo = np.asarray(Image.open(golden / "images" / sample["image"]).convert("RGB"))
        contact = recorded["gt_contact"][index]
        made.append(
            TrainingExample(
                input_ids=ids,
                labels=labels,
                image_features=tower(torch.from_numpy(tower.preprocessor([photo])))[0],
                contact_position=int((ids == config.seg_token_idx).nonzero()[-1, 0]),
                contact_token="[SEG]",
                surface=surface,
                mask_target=mask_target(views, contact),
                surface_target=torch.from_numpy(contact).float(),
            )
        )
    np.testing.assert_allclose(body_cameras(), recorded["cam_params"][0], atol=1e-6)
    return made


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=str)
def step(
    request: pytest.FixtureRequest, golden: Path, release: dict[str, Path], examples: list[TrainingExample]
) -> Step:
    model = TrainableModel.from_folder(release["contact"])
    for name, parameter in model.network.named_parameters():
        if any(part in name for part in ADAPTED_BY_LORA):
            parameter.requires_grad_(True)
    model.human_predictor.mask_decoder.to(request.param)
    parts = model(examples)
    parts.total.backward()
    norms = json.loads((golden / "contact_expected" / "train_step_grad_norms.json").read_text())
    return Step(request.param, norms, parts, dict(official_gradients(model)))


def official_gradients(model: TrainableModel) -> Iterator[tuple[str, torch.Tensor]]:
    homes = {"network.": "", "gate.": "cam_pose_encoder.", "human_predictor.": "model.visual_model."}
    for name, parameter in model.named_parameters():
        home = next((h for h in homes if name.startswith(h)), None)
        if home is not None and parameter.requires_grad:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            yield homes[home] + name.removeprefix(home), gradient


def test_loss_parts(step: Step, recorded: dict[str, np.ndarray]) -> None:
    expected = {
        "loss": step.parts.total,
        "ce_loss": step.parts.text,
        "mask_bce_loss": step.parts.mask_focal,
        "mask_dice_loss": step.parts.mask_dice,
        "mask_l2_loss": step.parts.mask_squared,
        "mask_loss": step.parts.mask_focal + step.parts.mask_dice + step.parts.mask_squared,
        "hC_loss": step.parts.human,
        "oC_loss": step.parts.object_contact,
        "oA_loss": step.parts.affordance,
    }
    for name, value in expected.items():
        assert value.item() == pytest.approx(float(recorded[name]), rel=VALUE, abs=1e-9), name


def test_every_gradient_norm(step: Step) -> None:
    assert step.norms.keys() <= step.gradients.keys()
    floor = 1e-6 * max(step.norms.values())
    for name, gradient in step.gradients.items():
        # What the loss does not reach (the decoder's head of predicted quality) is not recorded.
        expected = step.norms.get(name, 0.0)
        assert gradient.norm().item() == pytest.approx(expected, rel=GRADIENT_NORM, abs=floor), name


def test_recorded_gradients(step: Step, recorded: dict[str, np.ndarray]) -> None:
    names = [name for name in recorded if name.startswith("grad/")]
    assert names
    for name in names:
        expected = recorded[name]
        gradient = step.gradients[name.removeprefix("grad/")].numpy()
        assert np.abs(gradient - expected).max() <= GRADIENT[step.dtype] * np.abs(expected).max(), name
