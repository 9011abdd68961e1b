from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import CheckpointError
from interactvlm.retrieval.cached_arrays import cached_arrays

LAYOUT = {"numbers": ("float32", (3,))}


def build(value: float) -> dict[str, np.ndarray]:
    return {"numbers": np.full(3, value, np.float32)}


def counted(folder: Path, journal: Path) -> None:
    def make() -> dict[str, np.ndarray]:
        with journal.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        return build(1)

    assert cached_arrays(folder, "views", "key", LAYOUT, make)["numbers"].tolist() == [1, 1, 1]


def test_many_processes_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=counted, args=(tmp_path / "cache", tmp_path / "journal")) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len((tmp_path / "journal").read_text().split()) == 1


def test_a_new_key_takes_the_place_of_the_old(tmp_path: Path) -> None:
    assert cached_arrays(tmp_path, "views", "a", LAYOUT, lambda: build(1))["numbers"][0] == 1
    assert cached_arrays(tmp_path, "views", "b", LAYOUT, lambda: build(2))["numbers"][0] == 2
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["views-b.safetensors"]
    assert cached_arrays(tmp_path, "views", "b", LAYOUT, lambda: build(3))["numbers"][0] == 2


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_damaged_files_are_built_anew(tmp_path_factory: pytest.TempPathFactory, damage: bytes) -> None:
    folder = tmp_path_factory.mktemp("cache")
    (folder / "views-k.safetensors").write_bytes(damage)
    assert cached_arrays(folder, "views", "k", LAYOUT, lambda: build(5))["numbers"].tolist() == [5, 5, 5]
    assert cached_arrays(folder, "views", "k", LAYOUT, lambda: build(6))["numbers"].tolist() == [5, 5, 5]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, np.ndarray]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cached_arrays(tmp_path, "views", "k", LAYOUT, fail)
    assert not list(tmp_path.glob("*.safetensors"))
    assert cached_arrays(tmp_path, "views", "k", LAYOUT, lambda: build(1))["numbers"][0] == 1


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot hold retrieval's index"):
        cached_arrays(tmp_path / "file", "views", "k", LAYOUT, lambda: build(1))
