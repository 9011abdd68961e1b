"""`interactvlm evaluate` as a user or a program meets it: shards of a few scenes, a model that answers at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interactvlm.body.template import BodyTemplate, load_template
from interactvlm.datasets.sample import ContactSample
from interactvlm.datasets.shards import write_shard
from interactvlm.evaluation.report import HEADLINE
from interactvlm.evaluation.runner import EvaluatedModel
from tests.evaluation.fakes import Seen, model_of, sample_of

Run = Callable[..., Any]


@pytest.fixture
def body() -> BodyTemplate:
    return load_template("anny")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, body: BodyTemplate) -> Seen:
    shown = Seen()
    model = model_of(shown, body)

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[EvaluatedModel]:
        yield model

    monkeypatch.setattr("interactvlm.evaluation.runner.open_model", opened)
    monkeypatch.setattr("interactvlm.local.load_pipeline", lambda *_, **__: (model.pipeline, lambda: None))
    return shown


def scenes(body: BodyTemplate, count: int, shift: int = 0, **tags: str) -> list[ContactSample]:
    rng = np.random.default_rng(shift)
    made = []
    for index in range(count):
        touched = range(60 * index + shift, 60 * index + shift + 40)
        template = ("hold_left", "hold_right")[index % 2]
        made.append(sample_of(index, body, touched=touched, heat=rng.random(40), template=template, **tags))
    return made


@pytest.fixture
def data(body: BodyTemplate, tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    unseen = [
        dataclasses.replace(sample, sample_id=f"u{sample.sample_id}")
        for sample in scenes(body, 2, shift=9, unseen_category="1")
    ]
    for split, samples in (("train", scenes(body, 6, 3)), ("heldout", scenes(body, 4)), ("unseen", unseen)):
        write_shard(folder, split, 0, [(sample, None) for sample in samples])
    return folder


def test_one_json_document_with_the_promised_keys(run_command: Run, seen: Seen, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_command("evaluate", "--data", data, "--out", out, "--json", "--baseline-photos", 2)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert set(HEADLINE) <= set(report)
    assert report["n"] == 4
    assert report["unseen_categories"]["fake"]["n"] == 2
    assert report["methods"]["blank image"]["n"] == 2
    assert report == json.loads((out / "report.json").read_text())
    looked_at = len(seen.photos)
    assert run_command("evaluate", "--data", data, "--out", out, "--json", "--baseline-photos", 2).out == done.out
    assert len(seen.photos) == looked_at  # everything was there already


def test_tables_for_people(run_command: Run, seen: Seen, data: Path, tmp_path: Path) -> None:
    done = run_command("evaluate", "--data", data, "--out", tmp_path / "out", "--baselines", "prior")
    assert done.out.startswith("# nano on shards, heldout")
    assert "category prior" in done.out
    assert "asking: model" in done.err


def test_real_photographs(run_command: Run, seen: Seen, tmp_path: Path) -> None:
    Image.fromarray(np.full((60, 60, 3), 200, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "rows.toml").write_text('[[row]]\nphoto = "a.png"\nobject = "cup"\nparts = ["left hand"]\n')
    options = ("--photos", tmp_path, "--rows", tmp_path / "rows.toml", "--out", tmp_path / "out", "--json")
    done = run_command("evaluate", *options)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["n"] == len(report["rows"]) == 1
    assert (tmp_path / "out" / report["rows"][0]["figure"]).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "absent"), "does not exist"),
        (("--photos", "."), "and --rows go together"),
        (("--data", ".", "--split", "heldout"), "holds no shards of the split 'heldout'"),
        (("--kind", "damon"), "--data: is needed: the folder of damon"),
        (("--data", ".", "--kind", "mystery"), "kind: is 'mystery'"),
        (("--baselines", "oracle", "--data", "."), "baselines: names 'oracle'"),
        (("--data", ".", "--limit", -1), "limit: is -1"),
        (("--split", "elsewhere"), "split: is 'elsewhere'; synthetic scenes have heldout"),
    ],
)
def test_what_cannot_be_evaluated_is_told(
    run_command: Run,
    seen: Seen,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_command("evaluate", *options)
    assert done.code == 2
    assert message in done.err
    assert seen.photos == []


def test_another_body_needs_its_file(run_command: Run, seen: Seen, body: BodyTemplate, tmp_path: Path) -> None:
    sample = scenes(body, 1)[0]
    smplx = dataclasses.replace(
        sample, human=tuple(dataclasses.replace(contact, topology="smplx") for contact in sample.human)
    )
    write_shard(tmp_path / "data", "heldout", 0, [(smplx, None)])
    done = run_command("evaluate", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert done.code == 2
    assert "--truth-body: is needed: the photos are annotated on 'smplx', the model answers on 'anny'" in done.err
