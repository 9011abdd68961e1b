from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.checkpoints.unpickle import read_value_pickle
from interactvlm.checkpoints.values import read_values
from interactvlm.errors import CheckpointError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def written(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@settings(max_examples=60, deadline=None)
@given(PLAIN, st.integers(0, 5))
def test_plain_values_of_every_protocol(tmp_path_factory, value, protocol) -> None:
    path = written(tmp_path_factory.mktemp("v") / "a.pkl", value, protocol)
    with path.open("rb") as file:
        assert read_value_pickle(file, path) == value


def test_values_come_through_the_confined_process_in_order(tmp_path) -> None:
    values: list[Any] = [
        {"ids": np.array([3, 1], dtype=">i4"), "names": np.array(["left", "é"]), "n": np.float32(0.5)},
        (1, {5, 2}),
        np.zeros((2, 0, 3)),
        {"dict": {"list": []}, "array": ["<i8", [1], "AA=="]},
    ]
    found = list(read_values([written(tmp_path / f"{i}.pkl", value) for i, value in enumerate(values)]))
    np.testing.assert_array_equal(found[0]["ids"], [3, 1])
    assert found[0]["names"].tolist() == ["left", "é"]
    assert found[0]["n"] == 0.5
    assert found[1] == [1, [2, 5]]
    assert found[2].shape == (2, 0, 3)
    assert found[3] == values[3]


def test_items_of_an_array_of_objects(tmp_path) -> None:
    items = np.empty(2, dtype=object)
    items[:] = [{"cup": [1]}, {}]
    np.savez(tmp_path / "a.npz", items=items, one={"cup": [2]}, square=np.array([[{}, {}]], dtype=object))
    assert list(read_values([tmp_path / "a.npz"], member="items")) == [{"cup": [1]}, {}]
    assert list(read_values([tmp_path / "a.npz"], member="one")) == [{"cup": [2]}]
    for member, problem in (("square", r"is object of shape \[1, 2\]"), ("none", r"is damaged or missing")):
        with pytest.raises(CheckpointError, match=problem):
            list(read_values([tmp_path / "a.npz"], member=member))


class Runs:
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, ("it_ran",)


def deep() -> Any:
    value: Any = []
    for _ in range(40):
        value = [value]
    return value


def laughs() -> Any:
    value: Any = [0] * 100
    for _ in range(8):
        value = [value] * 100
    return value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (Runs(), r"asks for posix\.mkdir"),
        (deep(), "nested deeper than 16"),
        (laughs(), "more than 20000000 members"),
        ({1: 2}, "keys that are no text"),
        (b"bytes", "holds a bytes"),
        (np.zeros(2, dtype=[("x", "i4")]), "is refused"),
    ],
    ids=["code", "deep", "laughs", "keys", "bytes", "record"],
)
def test_anything_else_is_refused(tmp_path, value, problem, monkeypatch) -> None:
    monkeypatch.setattr("interactvlm.checkpoints.unpickle._MAX_MEMBERS", 20_000)
    problem = problem.replace("20000000", "20000")
    path = written(tmp_path / "a.pkl", value)
    with path.open("rb") as file, pytest.raises(CheckpointError, match=problem) as caught:
        read_value_pickle(file, path)
    assert "\n" not in str(caught.value)
    assert not Path("it_ran").exists()


def test_no_sources_and_missing_sources(tmp_path) -> None:
    assert list(read_values([])) == []
    with pytest.raises(CheckpointError, match=r"none\.pkl: does not exist or is no file"):
        list(read_values([tmp_path / "none.pkl"]))
