from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.results.naming import check_stem, result_stems
from interactvlm.types import Target, Task, TaskResult


def asked(task: Task, name: str = "") -> TaskResult:
    return TaskResult(task, name, np.zeros(3, np.float32), 0.5, "toy", "", 1.0)


def test_object_first_then_the_stem():
    results = [
        asked(Task.BINARY),
        asked(Task.SCENE),
        asked(Task.SEMANTIC, "tennis racket"),
        asked(Task.OBJECT, "tennis racket"),
    ]
    names = result_stems("000002", results)
    assert names == ("000002", "scene__000002", "tennis_racket__000002", "tennis_racket__000002")


def test_second_of_a_name_is_counted():
    results = [asked(Task.SEMANTIC, name) for name in ("chair", "Chair", "chair")] + [asked(Task.SEMANTIC, "scene")]
    names = result_stems("p", [*results, asked(Task.SCENE)])
    assert names == ("chair__p", "Chair-2__p", "chair-3__p", "scene__p", "scene-2__p")


@given(st.lists(st.tuples(st.sampled_from(Task), st.text(max_size=90)), max_size=6))
def test_names_are_safe_and_unique(questions):
    results = [asked(task, name) for task, name in questions]
    names = result_stems("photo", results)
    for name in names:
        assert Path(name).name == name
        assert len(f"{name}_hcontact_vertices_anny.npz".encode()) <= 255
        assert not set(name) & set('/\\:*?"<>|\n\0')
    for target in Target:
        mine = [name.casefold() for name, result in zip(names, results, strict=True) if result.target is target]
        assert len(set(mine)) == len(mine)


@pytest.mark.parametrize("stem", ["", ".", "..", ".hidden", "a/b", "a\\b", "/etc", "a\0b", "a\nb", "ä" * 61])
def test_stems_that_are_no_file_name_are_refused(stem):
    with pytest.raises(InputError, match="stem"):
        check_stem(stem)


@pytest.mark.parametrize("stem", ["000002", "photo.v2", "Bild 12:30 (1)", "стул", "-x"])
def test_everyday_stems_pass(stem):
    assert check_stem(stem) == stem


def test_object_answer_without_a_name():
    assert result_stems("p", [dataclasses.replace(asked(Task.OBJECT), object_name="//")]) == ("object__p",)
