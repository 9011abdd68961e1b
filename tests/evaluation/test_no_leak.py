"""The truth never reaches the model: changing every annotation changes no byte it is shown and no prediction."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample, TextAnswer
from interactvlm.evaluation.evaluate import EvaluationPlan, evaluate
from interactvlm.evaluation.inquiry import Inquiry, blank, inquiry_of, shuffled
from interactvlm.evaluation.runner import predict_all
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import Task
from tests.evaluation.fakes import Seen, model_of


def falsified(sample: ContactSample, seed: int) -> ContactSample:
    """The same photo and the same things asked about; every annotation is another."""
    rng = np.random.default_rng(seed)
    human = tuple(
        dataclasses.replace(
            contact,
            vertex_ids=np.sort(rng.choice(600, size=rng.integers(0, 90), replace=False)).astype(np.int32),
            category=f"category {seed}",
        )
        for contact in sample.human
    )
    objects = tuple(
        dataclasses.replace(
            item,
            values=rng.random(len(item.values)).astype(np.float32),
            affordance=f"affordance {seed}",
            category=f"category {seed}",
        )
        for item in sample.objects
    )
    texts = (TextAnswer("body parts", f"question {seed}", f"the {seed}th part"),)
    return dataclasses.replace(
        sample, human=human, objects=objects, texts=texts, tags={"template": f"t{seed}", "hand": str(seed)}
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.suffix != ".md"}


@pytest.mark.parametrize("seed", range(3))
def test_other_truths_change_no_prompt_and_no_prediction(
    seed: int, make_samples, small_body: BodyTemplate, tmp_path: Path
) -> None:
    samples = make_samples(6)
    seen = {}
    for name, given in (("true", samples), ("false", [falsified(sample, seed) for sample in samples])):
        seen[name] = Seen()
        model = model_of(seen[name], small_body)
        plan = EvaluationPlan(baselines=("blank", "shuffled"), photos_per_batch=4)
        report = evaluate(model, given, tmp_path / name, title="t", plan=plan)
        assert report["n"] == len(samples)
    assert seen["true"].as_bytes() == seen["false"].as_bytes()
    for run in ("model", "blank", "shuffled"):
        assert files(tmp_path / "true" / run) == files(tmp_path / "false" / run)
    assert (tmp_path / "true" / "report.json").read_bytes() != (tmp_path / "false" / "report.json").read_bytes()


def test_the_language_stage_sees_pixels_and_names_only(make_samples, model, seen: Seen, tmp_path: Path) -> None:
    samples = make_samples(3)
    predict_all(model, [inquiry_of(sample) for sample in samples], tmp_path)
    for photo, sample in zip(seen.photos, samples, strict=True):
        assert np.array_equal(photo, inquiry_of(sample).pixels())
    assert {question.object_name for question in seen.questions} == {"", "cup", "chair"}
    assert {field.name for field in dataclasses.fields(seen.questions[0])} == {"task", "object_name"}


def test_an_inquiry_has_no_room_for_a_truth() -> None:
    assert {field.name for field in dataclasses.fields(Inquiry)} == {
        *("sample_id", "photo", "person", "objects", "tasks"),
    }
    assert {field.name for field in dataclasses.fields(ObjectQuery)} == {"name", "surface"}


def test_sample_ids_are_not_shown(make_samples, small_body: BodyTemplate, tmp_path: Path) -> None:
    samples = make_samples(3)
    renamed = [dataclasses.replace(sample, sample_id=f"left-hand-{i}") for i, sample in enumerate(samples)]
    shown = []
    for name, given in (("a", samples), ("b", renamed)):
        seen = Seen()
        predict_all(model_of(seen, small_body), [inquiry_of(sample) for sample in given], tmp_path / name)
        shown.append(seen.as_bytes())
    assert shown[0] == shown[1]


def test_what_is_asked_follows_the_kinds_of_annotation(make_samples) -> None:
    sample = make_samples(1)[0]
    inquiry = inquiry_of(sample)
    assert inquiry.tasks == (Task.BINARY, Task.SEMANTIC, Task.OBJECT)
    assert [item.name for item in inquiry.objects] == ["cup", "chair"]
    only_objects = inquiry_of(sample, tasks=[Task.OBJECT])
    assert [item.name for item in only_objects.objects] == ["cup"]
    assert inquiry_of(dataclasses.replace(sample, objects=()), tasks=[Task.OBJECT]) is None


def test_blank_and_shuffled_ask_the_same_about_other_pictures(make_samples) -> None:
    inquiries = [inquiry_of(sample) for sample in make_samples(7)]
    for changed in (blank(inquiries), shuffled(inquiries, seed=3)):
        assert [(i.sample_id, i.objects, i.tasks) for i in changed] == [
            (i.sample_id, i.objects, i.tasks) for i in inquiries
        ]
        assert all(a.photo != b.photo for a, b in zip(changed, inquiries, strict=True))
    assert {i.photo for i in shuffled(inquiries, seed=3)} == {i.photo for i in inquiries}
    assert all((i.pixels() == 127).all() for i in blank(inquiries))
