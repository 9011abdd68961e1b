from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.datasets.fixtures import damon, piad
from tests.preparation.stub_endpoint import Stub, served

__all__ = ["damon", "piad"]

KEY = "sk-0123456789-secret"


def test_a_data_set(damon, run_command, tmp_path: Path) -> None:
    labels, photos = damon()
    done = run_command(
        "prepare", "damon", labels, tmp_path / "out", "--photos", photos, "--split", "test", "--limit", 2, "--json"
    )
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert (answer["samples"], answer["human_contacts"], answer["left_out"]) == (2, 5, 0)
    assert (tmp_path / "out" / "test-000000.parquet").is_file()


def test_pictures_and_questions(piad, run_command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INTERACTVLM_VQA_KEY", KEY)
    with served(Stub()) as stub:
        options = ("--split", "test", "--masks", "--size", 32, "--vqa-url", stub.url, "--vqa-model", "m")
        done = run_command("prepare", "piad", piad, tmp_path / "out", *options)
        assert done.code == 0, done.err
        assert "2 photos, 0 contacts on bodies, 2 on objects, 10 texts, 2 masks" in done.out
        assert "asked 2 times, 240 tokens; 0 photos stay without answers" in done.out
        assert stub.headers[0]["Authorization"] == f"Bearer {KEY}"
        assert (tmp_path / "out.answers.jsonl").is_file()
        again = run_command(
            "prepare", "piad", piad, tmp_path / "again", *options, "--vqa-answers", tmp_path / "out.answers.jsonl"
        )
        assert "asked 0 times" in again.out
        assert stub.paid == 2
    assert KEY not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("damon", "none", "out"), 2, "error: none: does not exist"),
        (("coco", ".", "out"), 2, "error: source: is 'coco'; known: damon, piad, lemon, pico"),
        (("shards", ".", "out"), 2, "holds no shards of the split 'train'"),
        (("piad", ".", "out", "--limit", "-1"), 2, "error: --limit: is -1; it must be 0 (all) or more"),
        (("piad", ".", "out", "--corners", "4"), 2, "error: corners: is 4; a pixel counts from 2 or from 3"),
        (("piad", ".", "out", "--body", "none.npz"), 2, "none.npz: does not exist"),
        (("piad", ".", "out", "--vqa-url", "https://h/v1"), 2, "and --vqa-model belong together"),
        (("piad", ".", "out", "--vqa-url", "http://h/v1", "--vqa-model", "m"), 2, "would carry the key unencrypted"),
    ],
)
def test_one_sentence_and_nothing_left(arguments, code, message, run_command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INTERACTVLM_VQA_KEY", KEY)
    target = tmp_path / "out"
    done = run_command("prepare", *(target if part == "out" else part for part in arguments))
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
    assert KEY not in done.err
    assert not target.exists()
