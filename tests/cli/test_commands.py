"""doctor, convert-checkpoint and info as a user or a program meets them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactvlm.body.smpl import BODY_ARRAYS

RELEASE = Path(__file__).parents[1] / "golden" / "data" / "contact_release"
Run = Callable[..., Any]


def test_doctor_says_the_same_to_people_programs_and_scripts(run_command: Run, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(RELEASE, folder)
    told = run_command("doctor", folder)
    assert told.code == 3
    assert "MISSING  body" in told.out
    document = run_command("doctor", folder, "--json")
    assert document.code == 3
    assert json.loads(document.out)["ready"] is False
    shutil.copytree(RELEASE.parent / "clip-vit-tiny-patch14", tmp_path / "clip-vit-large-patch14")
    (tmp_path / "body").mkdir()
    np.savez(tmp_path / "body" / "SMPLH_NEUTRAL.npz", **{name: np.zeros(1) for name in BODY_ARRAYS})
    assert run_command("doctor", folder).code == 0
    assert run_command("doctor", tmp_path / "absent").code == 3


def test_convert_tells_what_it_did(run_command: Run, tmp_path: Path) -> None:
    state = {
        "base_model.model.a.base_layer.weight": torch.ones(4, 4),
        "base_model.model.a.lora_A.default.weight": torch.ones(2, 4),
        "base_model.model.a.lora_B.default.weight": torch.ones(4, 2),
        "base_model.model.model.vision_tower.x": torch.ones(2),
    }
    torch.save(state, tmp_path / "trained.bin")
    told = run_command("convert-checkpoint", tmp_path / "trained.bin", tmp_path / "out")
    assert told.code == 0
    assert "1 arrays, a LoRA update merged into 1 of them" in told.out
    assert "left out: model.vision_tower.x" in told.out
    document = json.loads(run_command("convert-checkpoint", tmp_path / "trained.bin", tmp_path / "two", "--json").out)
    assert document == {
        "target": str(tmp_path / "two"),
        "tensors": 1,
        "merged": 1,
        "left_out": ["model.vision_tower.x"],
    }


def test_info_names_the_model_sets(run_command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERACTVLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("INTERACTVLM_MODEL", str(RELEASE))
    facts = json.loads(run_command("info", "--json").out)
    assert "UNTRAINED" in facts["models"]["nano"]
    assert "not built yet" in facts["models"]["nano"]
    assert "human contact" in facts["models"][str(RELEASE)]
    assert facts["cache"] == {"folder": str(tmp_path / "cache"), "bytes": 0}
    assert "UNTRAINED" in run_command("info").out


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["predict"], ["predict", "x.jpg", "--out", "o", "--nope"]])
def test_usage_errors(run_command: Run, arguments: list[str]) -> None:
    finished = run_command(*arguments)
    assert finished.code == 2
    assert finished.err.startswith("Usage: ")
    assert finished.out == ""
