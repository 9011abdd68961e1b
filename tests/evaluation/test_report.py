from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from interactvlm.body.parts import PART_NAMES
from interactvlm.errors import InputError
from interactvlm.evaluation.bootstrap import bootstrap_interval
from interactvlm.evaluation.calibration import BINS, Reliability
from interactvlm.evaluation.evaluate import BASELINES, EvaluationPlan, evaluate
from interactvlm.evaluation.report import HEADLINE, PRIOR, build_report
from interactvlm.evaluation.scores import score_answers
from interactvlm.evaluation.tables import markdown_report
from interactvlm.evaluation.truth import collect_truths
from tests.evaluation.fakes import Seen, model_of
from tests.evaluation.test_scores import answers_of, empty, perfect


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def report(make_samples, small_body, folder: Path) -> dict:
    model = model_of(Seen(), small_body)
    return evaluate(model, make_samples(8), folder, title="fake", training=make_samples(12, shift=5))


def test_the_document_has_the_promised_keys(report: dict, folder: Path) -> None:
    assert (
        *("binary_f1", "semantic_f1", "geodesic_cm", "prior_gap_f1", "left_right_acc"),
        *("no_contact_acc", "object_sim", "object_auc", "n"),
    ) == HEADLINE
    assert all(isinstance(report[key], float) for key in HEADLINE if key not in ("n", "left_right_acc"))
    assert report["n"] == 8
    assert list(report["methods"]) == [
        *("fake", "blank image", "shuffled image", PRIOR, "DECO-like", "Semantic-DECO-like"),
    ]
    assert list(report["per_part"]) == list(PART_NAMES)
    assert set(report["per_category"]) == {"kitchen"}
    assert set(report["per_object"]) == {"cup"}
    assert set(report["per_template"]) == {"hold_left", "hold_right"}
    assert set(report["objects"]["per_affordance"]) == {"grasp"}
    assert json.loads((folder / "report.json").read_text()) == report
    json.dumps(report, allow_nan=False)


def test_the_numbers_are_the_rows_means(report: dict) -> None:
    assert report["binary_f1"] == report["methods"]["fake"]["binary"]["f1"]
    assert report["object_sim"] == report["methods"]["fake"]["object"]["sim"]
    gap = report["intervals"]["gaps"][PRIOR]["semantic_f1_where_templates_vary"]
    assert report["prior_gap_f1"] == gap["mean"] == pytest.approx(gap["model"] - gap["baseline"])
    assert gap["interval"][0] <= gap["mean"] <= gap["interval"][1]


def test_the_markdown_has_every_table(report: dict, folder: Path) -> None:
    text = (folder / "report.md").read_text()
    for heading in ("Tab. 2", "Tab. S.2", "Tab. S.3", "Calibration", "category prior", "*DECO*", "IAGNet", "left hand"):
        assert heading in text
    for line in text.splitlines():
        assert "nan" not in line.split()
    widths = {}
    for block in text.split("\n\n"):
        rows = [line.count("|") for line in block.splitlines() if line.startswith("|")]
        widths[block[:40]] = len(set(rows)) <= 1
    assert all(widths.values())


def test_an_evaluation_is_the_same_again(make_samples, model, tmp_path: Path) -> None:
    texts = []
    for name in "ab":
        evaluate(model, make_samples(6), tmp_path / name, title="t", training=make_samples(6, shift=5))
        texts.append((tmp_path / name / "report.json").read_bytes())
    assert texts[0] == texts[1]


def test_unseen_categories_stand_apart(make_samples, model, tmp_path: Path) -> None:
    samples = make_samples(6)
    samples += [
        dataclasses.replace(sample, sample_id=f"u{sample.sample_id}", tags={**sample.tags, "unseen_category": "1"})
        for sample in make_samples(4)
    ]
    report = evaluate(model, samples, tmp_path, title="t", plan=EvaluationPlan(baselines=()))
    alone = evaluate(model, make_samples(6), tmp_path / "alone", title="t", plan=EvaluationPlan(baselines=()))
    assert {key: report[key] for key in HEADLINE} == {key: alone[key] for key in HEADLINE}
    assert report["unseen_categories"]["fake"]["n"] == 4
    assert "unseen in training" in (tmp_path / "report.md").read_text()
    assert report["prior_gap_f1"] is None


def test_a_perfect_and_an_empty_method(make_samples, small_body) -> None:
    truths = collect_truths(make_samples(), small_body)
    methods = [
        score_answers("perfect", answers_of(truths, perfect), truths),
        score_answers("empty", answers_of(truths, empty), truths),
    ]
    report = build_report(truths, methods)
    assert report["binary_f1"] == report["semantic_f1"] == report["no_contact_acc"] == 1
    assert report["geodesic_cm"] == 0
    assert report["intervals"]["gaps"]["empty"]["binary_f1"]["mean"] == 1
    assert report["methods"]["empty"]["binary"]["f1"] == 0
    assert report["methods"]["empty"]["no_contact_acc"] == 1
    assert report["methods"]["empty"]["contact_found_acc"] == 0
    touched = [row for row in report["per_part"].values() if row["rows"]]
    assert touched
    assert all(row["f1"] == row["precision"] == row["recall"] == 1 for row in touched)
    assert markdown_report(report, title="t").startswith("# t\n")


def test_a_model_without_an_object_head_is_asked_about_bodies(make_samples, model, tmp_path: Path) -> None:
    human = dataclasses.replace(model, tasks=model.tasks[:3], features=None)
    report = evaluate(human, make_samples(4), tmp_path, title="t", training=make_samples(4))
    assert report["object_sim"] is report["object_auc"] is None
    assert report["binary_f1"] is not None


def test_plans_are_checked(make_samples, model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="baselines: names 'oracle'; known: prior, blank"):
        EvaluationPlan(baselines=("oracle",))
    with pytest.raises(InputError, match="baseline_photos: is 0"):
        EvaluationPlan(baseline_photos=0)
    assert EvaluationPlan().baselines == BASELINES
    with pytest.raises(InputError, match="samples: hold no annotation"):
        evaluate(model, [dataclasses.replace(make_samples(1)[0], human=(), objects=())], tmp_path, title="t")


def test_the_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        values = rng.normal(0.4, 0.2, 60)
        low, high = bootstrap_interval(values, list(range(60)))
        inside += low <= 0.4 <= high
    assert 88 <= inside <= 100


def test_the_bootstrap_keeps_photos_together_and_pairs_methods() -> None:
    rng = np.random.default_rng(1)
    of_photo = rng.normal(size=30)
    once = bootstrap_interval(of_photo, list(range(30)))
    copies = bootstrap_interval(np.repeat(of_photo, 5), np.repeat(np.arange(30), 5).tolist())
    assert copies == pytest.approx(once)
    other = of_photo - 0.3
    assert bootstrap_interval(of_photo, list(range(30)), minus=other) == pytest.approx((0.3, 0.3))
    assert bootstrap_interval(of_photo[:3], ["one"] * 3) is None


def test_reliability_of_honest_and_of_overconfident_probabilities() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.random(200_000).astype(np.float32)
    honest, bold = Reliability(), Reliability()
    honest.add(probabilities, rng.random(200_000) < probabilities)
    bold.add(np.ones(1000, np.float32), np.arange(1000) < 250)
    assert honest.expected_error < 0.01
    assert len(honest.as_dict()["bins"]) == BINS
    assert bold.expected_error == pytest.approx(0.75)
    (only,) = bold.as_dict()["bins"]
    assert (only["vertices"], only["probability"], only["in_contact"]) == (1000, 1.0, 0.25)
    assert Reliability().expected_error == 0
