from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.manifest import verify_manifest
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError
from interactvlm.training.export import export_run
from interactvlm.training.run import OpenedRun
from interactvlm.training.saving import best_checkpoint, latest_checkpoint
from interactvlm.training.trainer import rate_factor
from interactvlm.types import Question, Task
from interactvlm.vlm.model import ContactVLM

TinyRun = Callable[..., OpenedRun]


def losses(folder: Path) -> list[tuple[int, float, float]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["gradient"]) for row in rows if row["kind"] == "train"]


def test_six_steps_are_three_and_a_kill_and_three(tiny_run: TinyRun) -> None:
    straight = tiny_run("straight")
    straight.trainer.run(resume=False)

    first = tiny_run("pieces", steps=6)
    ended = iter(range(10))
    draw = first.trainer._batches.draw

    def draw_and_terminate(step: int, **place: int) -> Any:
        if next(ended) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(step, **place)

    first.trainer._batches.draw = draw_and_terminate  # type: ignore[method-assign]
    assert first.trainer.run(resume=False).step == 3
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    second = tiny_run("pieces")
    assert second.trainer.run(resume=True).step == 6

    # Six digits of the log are bit-equal, and so is every weight.
    assert losses(straight.folder) == losses(second.folder)
    one, other = (load_file(run.folder / "step-0000006" / "weights.safetensors") for run in (straight, second))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_is_not_begun_twice_nor_continued_by_another_recipe(tiny_run: TinyRun) -> None:
    tiny_run(steps=1).trainer.run(resume=False)
    with pytest.raises(CheckpointError, match="go on with --resume"):
        tiny_run(steps=2).trainer.run(resume=False)
    with pytest.raises(CheckpointError, match="another recipe"):
        tiny_run(steps=2, seed=1).trainer.run(resume=True)
    assert tiny_run(steps=2).trainer.run(resume=True).step == 2


def test_time_can_be_limited(tiny_run: TinyRun) -> None:
    run = tiny_run()
    assert run.trainer.run(resume=False, minutes=0).step == 0
    assert latest_checkpoint(run.folder) is None


def test_old_checkpoints_go_and_the_best_stays(tiny_run: TinyRun) -> None:
    run = tiny_run(run={"save_every": 1, "keep": 2, "validate_every": 1})
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.4, 0.5])
    run.trainer._validate = lambda: {"score": next(scores)}
    run.trainer.run(resume=False)
    assert sorted(path.name for path in run.folder.glob("step-*")) == ["step-0000002", "step-0000005", "step-0000006"]
    best = best_checkpoint(run.folder)
    assert best is not None
    assert (best[0].name, best[1]) == ("step-0000002", 0.9)


def test_a_damaged_checkpoint_is_named(tiny_run: TinyRun) -> None:
    run = tiny_run(steps=1)
    run.trainer.run(resume=False)
    (run.folder / "step-0000001" / "optimiser.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="is not a whole checkpoint"):
        tiny_run(steps=2).trainer.run(resume=True)


def test_what_is_learned_is_said_and_shown(tiny_run: TinyRun, tmp_path: Path, make_sample: Any) -> None:
    """A handful of photos is learned by heart: the loss falls, and generation then says and shows what was taught."""
    run = tiny_run(
        steps=160, rate=1e-2, decoder_rate=0.02, questions=3, words=0, scene=0, parts_dropout=0.0, final_rate=0.5,
        run={"validate_every": 160},
    )  # fmt: skip
    run.trainer.run(resume=False)
    fallen = losses(run.folder)
    assert np.mean([loss for _, loss, _ in fallen[-5:]]) < 0.3 * fallen[0][1]
    (scores,) = (
        row
        for line in (run.folder / "log.jsonl").read_text().splitlines()
        if (row := json.loads(line))["kind"] != "train"
    )
    assert scores["no_contact"] == 1
    assert scores["semantic_f1"] > 0.4

    # The exported folder, read like any published checkpoint, says the same.
    checkpoint, out = export_run(run.config, tmp_path / "exported")
    assert checkpoint.name == "step-0000160"
    verify_manifest(out)
    base, made = WeightReader(run.base), WeightReader(out)
    assert made.names() == base.names()
    assert {made.dtype(name) for name in made.names()} == {base.dtype(name) for name in base.names()}
    vlm = ContactVLM.from_folder(out, vision_tower=run.config.model.vision_tower)
    photo = np.full((48, 48, 3), (30, 30, 220), np.uint8)
    questions = [Question(Task.SEMANTIC, "cup"), Question(Task.SEMANTIC, "chair")]
    touched, untouched = vlm.answer([photo], [questions])[0]
    assert (touched.token, len(touched.parts)) == ("[SEG]", 2)
    assert (untouched.token, untouched.text) == (None, "The contacting body parts are none.")
    with pytest.raises(CheckpointError, match="exists already"):
        export_run(run.config, out)
    assert ReleaseConfig.from_folder(out) == replace(ReleaseConfig.from_folder(run.base), trained=True)


def test_the_rate_rises_and_falls() -> None:
    factors = [rate_factor(step, 4, 104, 0.1) for step in range(105)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == pytest.approx(1)
    assert factors[54] == pytest.approx(0.55)
    assert factors[104] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(factors[3:]))
