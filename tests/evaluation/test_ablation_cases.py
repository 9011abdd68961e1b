from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from interactvlm.body.parts import PART_NAMES
from interactvlm.errors import InputError
from interactvlm.evaluation.ablation import _share, ablation_table
from interactvlm.evaluation.ablation_cases import COARSE_PARTS, SWITCHES, AblationCase, AblationPlan, read_plan
from interactvlm.training.config import DataSource, RunPart, TrainingConfig
from interactvlm.training.objective import LossWeights

PLAN = """
[ablation]
cases = ["no_camera", "coarse_parts"]
budget_minutes = 30
held_out = { kind = "shards", path = "scenes", split = "heldout", limit = 40 }
[model]
start = "fresh"
[[data]]
kind = "shards"
path = "scenes"
[steps]
steps = 100
mask_side = 128
[run]
folder = "out/ablation"
"""


@pytest.fixture
def plan() -> AblationPlan:
    source = DataSource("shards", "scenes")
    return AblationPlan(TrainingConfig(run=RunPart(folder="out"), data=(source,)), source)


def changed(case: AblationCase, whole: AblationCase) -> set[str]:
    """Names of the fields in which two cases differ, the run's folder aside."""
    names = {
        field.name
        for field in dataclasses.fields(case)
        if field.name != "training" and getattr(case, field.name) != getattr(whole, field.name)
    }
    return names | {
        f"steps.{field.name}"
        for field in dataclasses.fields(case.training.steps)
        if getattr(case.training.steps, field.name) != getattr(whole.training.steps, field.name)
    }


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("full", set()),
        ("half_masks", {"steps.mask_side"}),
        ("no_camera", {"camera"}),
        ("concatenated_camera", {"camera"}),
        ("no_mvloc", {"localization", "camera"}),
        ("whole_masks", {"whole_masks"}),
        ("no_surface_loss", {"weights"}),
        ("contact_only", {"steps.parts_dropout", "steps.words"}),
        ("contact_and_parts", {"steps.words"}),
        ("data_1", {"data_share"}),
        ("data_5", {"data_share"}),
        ("data_25", {"data_share"}),
        ("no_vlm", {"language"}),
        ("image_only", {"questions"}),
        ("frozen_vlm", {"language"}),
        ("smaller_vlm", {"layers"}),
        ("coarse_parts", {"coarse_parts"}),
        ("no_object_name", {"object_names"}),
    ],
)
def test_a_switch_changes_what_it_says_and_nothing_else(plan: AblationPlan, name: str, fields: set[str]) -> None:
    case = plan.case(name)
    assert changed(case, plan.case("full")) == fields
    assert case == plan.case(name)
    assert case.training.model == plan.training.model
    assert case.training.data == plan.training.data
    assert Path(case.training.run.folder) == Path("out") / name


def test_no_two_switches_are_the_same(plan: AblationPlan) -> None:
    cases = [plan.case(name) for name in SWITCHES]
    alike = [
        replace(case, training=replace(case.training, run=plan.training.run))
        for case in cases  # folders differ anyway
    ]
    assert all(one != other for i, one in enumerate(alike) for other in alike[:i])


def test_a_share_of_the_photos_is_spread_over_them() -> None:
    photos = list(range(40))
    assert list(_share(photos, 0.25)) == list(range(0, 40, 4))  # type: ignore[arg-type]
    assert list(_share(photos, 0.01)) == [0]  # type: ignore[arg-type]
    assert _share(photos, 1.0) is photos  # type: ignore[arg-type]


def test_values_of_switches(plan: AblationPlan) -> None:
    assert plan.case("half_masks").training.steps.mask_side * 2 == plan.case("full").training.steps.mask_side
    weights = plan.case("no_surface_loss").weights
    assert (weights.human, weights.object_contact, weights.affordance) == (0, 0, 0)
    assert weights.mask_focal == LossWeights().mask_focal
    assert plan.case("full").training.steps.objects == 0
    assert set(COARSE_PARTS) == set(PART_NAMES)
    assert len(set(COARSE_PARTS.values())) == 6


def test_a_plan_is_read(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    plan = read_plan(tmp_path / "plan.toml")
    assert plan.cases == ("full", "no_camera", "coarse_parts")
    assert plan.budget_minutes == 30
    assert plan.held_out == DataSource("shards", "scenes", split="heldout", limit=40)
    assert plan.training.steps.steps == 100
    assert plan.training.run.validation is None
    assert plan.case("half_masks").training.steps.mask_side == 64


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ('"no_camera", ', '"no_dice", ', "ablation.cases: names 'no_dice'; known: full, half_masks"),
        ("budget_minutes = 30", "budget_minutes = -1", "ablation.budget_minutes: is -1"),
        ("budget_minutes = 30", "minutes = 30", "ablation.minutes: is not known"),
        ("[ablation]", "[ablate]", "ablation: is missing"),
        ("held_out = {", "held_out = 3 #", "ablation.held_out: is missing"),
        ('held_out = { kind = "shards"', 'held_out = { kind = "photos"', "kind"),
        ("steps = 100", "steps = -2", "steps.steps: is -2"),
        ("[[data]]", "[data]", "data: is missing"),
        ("[ablation]", "[ablation", "is not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_plan_is_told(tmp_path: Path, wrong: str, right: str, message: str) -> None:
    assert wrong in PLAN
    (tmp_path / "plan.toml").write_text(PLAN.replace(wrong, right))
    with pytest.raises(InputError) as told:
        read_plan(tmp_path / "plan.toml")
    assert message in str(told.value)


def test_the_table_sets_our_changes_beside_the_papers() -> None:
    full = {"title": "whole method", "paper_f1": 0.756, "binary_f1": 0.5, "semantic_f1": 0.4, "steps": 10}
    other = {**full, "title": "no camera", "paper_f1": 0.694, "binary_f1": 0.47}
    text = ablation_table({"budget_minutes": 30.0, "photos": 4, "cases": {"full": full, "no_camera": other}})
    assert "| no camera | 0.470 | -3.0 | 0.400 | - | 10 | 0.694 | -6.2 |" in text
