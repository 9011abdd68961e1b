from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from interactvlm.evaluation.damon import DamonSummary, summarize_damon
from interactvlm.evaluation.metrics import (
    affordance_scores,
    contact_scores,
    deco_contact_scores,
    geodesic_errors,
    mean_affordance_scores,
)

TOLERANCE = 1e-5
PRINTED = 0.5e-4 + TOLERANCE


@pytest.fixture(scope="module")
def arrays(golden: Path) -> dict[str, np.ndarray]:
    return dict(np.load(golden / "metrics" / "metrics.npz"))


@pytest.fixture(scope="module")
def numbers(golden: Path) -> dict:
    return json.loads((golden / "metrics" / "metrics.json").read_text())


def same(ours: np.ndarray | float, recorded: np.ndarray | float) -> None:
    np.testing.assert_allclose(ours, recorded, rtol=0, atol=TOLERANCE)


def test_human_scores(arrays: dict[str, np.ndarray], numbers: dict) -> None:
    scores = contact_scores(arrays["pred"], arrays["gt"])
    for name, values in scores._asdict().items():
        same(values, arrays[f"human_{name}"])
        same(values.mean(), numbers["human_avg"][name])


def test_deco_conventions(arrays: dict[str, np.ndarray]) -> None:
    scores = deco_contact_scores(arrays["pred"], arrays["gt"])
    for name, values in scores._asdict().items():
        same(values, arrays[f"deco_{name}"])


def test_geodesic_errors_in_the_documented_order(arrays: dict[str, np.ndarray], numbers: dict) -> None:
    errors = geodesic_errors(arrays["pred"] >= 0.5, arrays["gt"] > 0, arrays["geodesic"])
    for prefix in ("geo", "deco"):
        same(errors.false_positive, arrays[f"{prefix}_fp"])
        same(errors.false_negative, arrays[f"{prefix}_fn"])
    same(errors.false_positive.mean(), numbers["geo_avg"]["fp"])
    same(errors.false_negative.mean(), numbers["geo_avg"]["fn"])


def test_the_releases_swapped_call_explains_its_numbers(arrays: dict[str, np.ndarray], numbers: dict) -> None:
    # The official evaluation passes the truth as prediction, and takes as truth what was predicted with certainty.
    swapped = geodesic_errors(arrays["gt"] > 0, arrays["pred"] == 1, arrays["geodesic"]).false_positive
    same(swapped, arrays["geo_as_called_in_evaluate"])
    same(swapped.mean(), numbers["geo_as_called_in_evaluate_avg"])


def test_damon_summary(arrays: dict[str, np.ndarray], numbers: dict) -> None:
    rows = numbers["damon_inputs"]
    summary = summarize_damon(arrays["pred"], arrays["gt"], rows["imgnames"], rows["objnames"], arrays["geodesic"])
    ours, recorded = computed(summary), parsed(numbers["damon_printed"])
    assert list(ours) == list(recorded)
    for name, values in recorded.items():
        np.testing.assert_allclose(ours[name], values, rtol=0, atol=PRINTED, err_msg=name)


def computed(summary: DamonSummary) -> dict[str, tuple[float, ...]]:
    binary = (summary.binary_f1, summary.binary_precision, summary.binary_recall, summary.binary_geodesic)
    lines: dict[str, tuple[float, ...]] = {"semantic": (summary.semantic_f1, summary.semantic_geodesic)}
    for c in summary.categories:
        lines[c.category] = (c.samples, c.f1, c.precision, c.recall, c.geodesic)
    return lines | {"binary": binary}


def parsed(text: str) -> dict[str, tuple[float, ...]]:
    number = r"(\d+\.\d{4})"
    semantic = re.search(rf"Weighted F1: {number}, Weighted Geo: {number}", text)
    binary = re.search(rf"Global F1: {number}, Precision: {number}, Recall: {number}, Geo: {number}", text)
    assert semantic is not None
    assert binary is not None
    found = {"semantic": semantic.groups()}
    for name, *values in re.findall(rf"^(\S+) +\| +(\d+) \| {number} \| {number} \| {number} \| {number}$", text, re.M):
        found[name] = tuple(values)
    assert len(found) > 1
    found["binary"] = binary.groups()
    return {name: tuple(float(value) for value in values) for name, values in found.items()}


def test_piad_scores(arrays: dict[str, np.ndarray], numbers: dict) -> None:
    scores = affordance_scores(arrays["piad_pred"], arrays["piad_gt"])
    columns = (scores.similarity, scores.absolute_error, scores.auc, scores.iou, scores.valid)
    for column, values in enumerate(columns):
        same(values, arrays["piad_per_sample"][:, column])
    same(scores.similarity, arrays["piad_iagnet_sim"])
    means = mean_affordance_scores(scores)
    assert means.keys() == numbers["piad_batch"].keys()
    for name, value in means.items():
        same(value, numbers["piad_batch"][name])
