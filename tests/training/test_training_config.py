from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interactvlm.errors import InputError
from interactvlm.training.config import TrainingConfig

MINIMAL: dict[str, Any] = {"run": {"folder": "x"}, "data": [{"kind": "damon", "path": "y"}]}


def test_the_defaults_are_the_papers() -> None:
    config = TrainingConfig.from_dict(MINIMAL)
    assert (config.steps.rate, config.steps.warmup, config.steps.clip) == (3e-4, 100, 1.0)
    assert (config.model.lora_rank, config.model.lora_alpha) == (8, 16)
    assert (config.steps.contact, config.steps.scene, config.steps.words) == (9, 3, 1)


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("examples/training/*.toml")), ids=lambda p: p.stem
)
def test_the_examples_can_be_read(path: Path) -> None:
    assert TrainingConfig.from_file(path).data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": []}, "data: is missing"),
        ({"data": [{"kind": "damon"}]}, r"data\[0\].path: is missing"),
        ({"data": [{"kind": "coco", "path": "y"}]}, r"data\[0\].kind: is 'coco'; known: shards"),
        ({"data": [{"kind": "damon", "path": "y", "ratio": 0}]}, "data.ratio: is 0"),
        ({"steps": {"rate": "fast"}}, "steps.rate: is 'fast', must be of type float"),
        ({"steps": {"rate": 0}}, "steps: rate and clip must be above 0"),
        ({"steps": {"questions": True}}, "steps.questions: is True, must be of type int"),
        ({"steps": {"masks": 1.5}}, "steps.masks: is 1.5, must be 0 to 1"),
        ({"steps": {"contact": 0, "scene": 0, "words": 0}}, "one of them more"),
        ({"model": {"rows": "some"}}, "model.rows: is 'some'; known: added, all"),
        ({"model": 3}, "model: must be a table"),
        ({"modell": {}}, "modell: is not a section"),
        ({"run": {}}, "run.folder: is missing"),
        ({"run": {"folder": "x", "keep": 0}}, "run: save_every and keep"),
        ({"run": {"folder": "x", "validation": {"kind": "shards"}}}, r"run.validation.path: is missing"),
        ({"run": {"folder": "x", "colour": 1}}, "run.colour: is not known"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingConfig.from_dict({**MINIMAL, **change})


@pytest.mark.parametrize("content", [b"[run", b"\xff\xfe"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(InputError, match="is not valid TOML"):
        TrainingConfig.from_file(tmp_path / "c.toml")
    with pytest.raises(InputError, match="cannot be read"):
        TrainingConfig.from_file(tmp_path / "none.toml")
