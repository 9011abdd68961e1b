"""Pickles of arrays convert to npz; pickles that try to run code convert to nothing."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactvlm.checkpoints.convert import convert
from interactvlm.checkpoints.manifest import read_manifest, verify_manifest
from interactvlm.checkpoints.weight_sources import WeightSource
from interactvlm.errors import CheckpointError


class Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def attack(name: str, mark: Path) -> Any:
    code = f"open({str(mark)!r}, 'w')"
    return {
        "os.system": lambda: Runs(os.system, f"touch {mark}"),
        "eval": lambda: Runs(eval, code),
        "getattr": lambda: Runs(getattr, Runs(__import__, "os"), "system"),
        "open": lambda: Runs(open, str(mark), "w"),
        "torch.load": lambda: Runs(torch.load, str(mark)),
        "torch storage bytes": lambda: Runs(torch.storage._load_from_bytes, pickle.dumps(Runs(eval, code))),
    }[name]()


ATTACKS = ["os.system", "eval", "getattr", "open", "torch.load", "torch storage bytes"]


def written(path: Path, content: Any, form: str) -> Path:
    if form == "plain":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_code_in_weights_is_refused(tmp_path: Path, name: str, form: str) -> None:
    mark = tmp_path / "it_ran"
    source = written(tmp_path / "weights.bin", {"w": torch.ones(2), "x": attack(name, mark)}, form)
    with pytest.raises(CheckpointError, match="is refused: it asks for ") as caught:
        WeightSource({source: None}, step=lambda _: None)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("form", "file_name"), [("zip", "weights.bin"), ("plain", "lift2d_dict.pkl")])
def test_a_pickle_that_tries_to_run_code_converts_to_nothing(
    tmp_path: Path, form: str, file_name: str, left_in: Callable[[Path], set[str]]
) -> None:
    mark = tmp_path / "it_ran"
    value = np.ones(2) if form == "plain" else torch.ones(2)
    source = written(tmp_path / file_name, {"w": value, "x": attack("os.system", mark)}, form)
    with pytest.raises(CheckpointError, match=r"is refused: it asks for \w+\.system"):
        convert(source, tmp_path / "out")
    assert not mark.exists()
    assert left_in(tmp_path) == {source.name}


def test_one_pickle_of_arrays(tmp_path: Path, left_in: Callable[[Path], set[str]]) -> None:
    maps = {"pixel_to_vertices_map": [np.full((4, 4, 3), i) for i in range(4)], "num_vertices": 9}
    (tmp_path / "lift2d_dict.pkl").write_bytes(pickle.dumps(maps))
    done = convert(tmp_path / "lift2d_dict.pkl", tmp_path / "maps.npz")
    assert done.tensors == 2
    with np.load(tmp_path / "maps.npz") as found:
        np.testing.assert_array_equal(found["pixel_to_vertices_map"], np.stack(maps["pixel_to_vertices_map"]))
        assert found["num_vertices"] == 9
    with pytest.raises(CheckpointError, match="exists already"):
        convert(tmp_path / "lift2d_dict.pkl", tmp_path / "maps.npz")
    assert left_in(tmp_path) == {"lift2d_dict.pkl", "maps.npz"}


def test_a_folder_of_body_pickles(tmp_path: Path) -> None:
    source = tmp_path / "smpl"
    source.mkdir()
    for name in ("SMPL_MALE", "SMPL_NEUTRAL"):
        (source / f"{name}.pkl").write_bytes(
            pickle.dumps({"v_template": np.ones((5, 3)), "names": {"a": 1}}, protocol=2)
        )
    done = convert(source, tmp_path / "body")
    assert sorted(read_manifest(tmp_path / "body")) == ["SMPL_MALE.npz", "SMPL_NEUTRAL.npz"]
    assert done.left_out == ("names", "names")
    assert verify_manifest(tmp_path / "body") == 2
