from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.layout import official_layout
from interactvlm.errors import CheckpointError
from interactvlm.training.card import model_card, training_state
from interactvlm.training.config import TrainingConfig
from interactvlm.training.export import export_nano, export_run
from interactvlm.vlm.nano.assembly import assemble_base
from interactvlm.vlm.nano.language import GgufLanguageModel
from interactvlm.vlm.nano.manifest import NanoManifest, trained_parts
from interactvlm.vlm.nano.packages import LANGUAGE_MODEL
from interactvlm.vlm.nano.renders import RENDER_ENCODER
from interactvlm.vlm.nano.tensors import NanoTensors, shipped_weights


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    return official_layout(ReleaseConfig.from_folder(assemble_base()), RENDER_ENCODER).required


@pytest.fixture(scope="module")
def trained(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """What a run of nano trains, by official name."""
    manifest = replace(NanoManifest.read(), parts=trained_parts("trained"))
    generator = torch.Generator().manual_seed(0)
    made = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in shapes.items()
        if manifest.part_of(name).source == "weights"
    }
    made["model.embed_tokens.added"] = torch.randn(1, 576, generator=generator)
    for projection, width in (("q_proj", 576), ("v_proj", 192)):
        stem = f"model.layers.4.self_attn.{projection}"
        made[f"{stem}.lora_A.default.weight"] = torch.randn(8, 576, generator=generator)
        made[f"{stem}.lora_B.default.weight"] = torch.randn(width, 8, generator=generator)
    return made


def test_nanos_weights_come_back(
    tmp_path: Path, trained: dict[str, torch.Tensor], shapes: dict[str, tuple[int, ...]]
) -> None:
    export_nano(trained, tmp_path, alpha=16, state="trained on nothing", notice="", card="# card\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "manifest.json", "weights.safetensors"]
    assert (tmp_path / "weights.safetensors").stat().st_size < 60e6
    manifest = NanoManifest.read(tmp_path)
    assert (manifest.trained, manifest.notice, manifest.lora_alpha) == (True, "", 16)
    language = GgufLanguageModel(LANGUAGE_MODEL.locate())
    tensors = NanoTensors(manifest=manifest, language=language, renders={}, shipped=shipped_weights(manifest, tmp_path))
    tensors.check(shapes)
    name = "model.visual_model.mask_decoder.mask_tokens.weight"
    assert np.array_equal(tensors.read(name, shapes[name]), trained[name].half().float().numpy())
    stem = "model.layers.4.self_attn.v_proj"
    merged = tensors.read(f"{stem}.weight", shapes[f"{stem}.weight"])
    down, up = (trained[f"{stem}.lora_{half}.default.weight"].half().float().numpy() for half in "AB")
    np.testing.assert_allclose(merged, language.tensor(f"{stem}.weight") + 2 * up @ down, atol=1e-4)


def test_a_value_beyond_float16_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot hold model"):
        export_nano(
            {"model.mm_projector.bias": torch.full((3,), 1e6)}, tmp_path, alpha=16, state="", notice="", card=""
        )
    assert not (tmp_path / "manifest.json").exists()


def test_the_card_says_what_was_done(tmp_path: Path) -> None:
    config = TrainingConfig.from_dict(
        {"run": {"folder": str(tmp_path)}, "data": [{"kind": "shards", "path": "/data/v1"}]}
    )
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        export_run(config)
    checkpoint = tmp_path / "step-0000020"
    checkpoint.mkdir()
    state = {"step": 20, "seconds": 7200.0, "photos": 160, "recipe": "r"}
    (checkpoint / "state.json").write_text(json.dumps(state))
    rows = [{"kind": "train", "step": 1, "loss": 1.0}, {"kind": "validation", "step": 10, "semantic_f1": 0.625}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = model_card(config, checkpoint)
    for words in ("Trained on synthetic scenes, 20 steps of 8 photos", "2.0 hours", "0.625", 'path = "v1"', "Limits"):
        assert words in card
    assert "/data" not in card
    assert training_state(config, 20) == "trained on synthetic scenes, 20 steps of 8 photos"
