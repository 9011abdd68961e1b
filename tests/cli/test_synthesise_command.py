import importlib.util
from pathlib import Path

from interactvlm.datasets.shards import read_shards


def test_scenes_shards_and_a_sheet(run_command, tmp_path: Path) -> None:
    options = ("--scenes", 2, "--seed", 5, "--split", "heldout", "--out", tmp_path)
    done = run_command("synthesise", *options)
    assert done.code == 0, done.err
    samples = read_shards(tmp_path, "heldout")
    assert [sample.tags["split"] for sample in samples] == ["heldout"] * 2
    assert (tmp_path / "heldout.png").stat().st_size > 1000
    assert run_command("synthesise", *options).code == 0  # nothing left to do


def test_bad_orders_are_one_sentence(run_command, tmp_path: Path) -> None:
    for options in (("--scenes", 0), ("--scenes", 1, "--split", "test"), ("--scenes", 1, "--workers", 0)):
        told = run_command("synthesise", *options, "--out", tmp_path)
        assert told.code == 2
        assert told.err.count("error:") == 1
        assert "Traceback" not in told.err


def test_a_missing_package_is_named_with_its_extra(run_command, monkeypatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    told = run_command("synthesise", "--scenes", 1, "--out", tmp_path)
    assert told.code == 3
    assert "interactvlm[train]" in told.err
