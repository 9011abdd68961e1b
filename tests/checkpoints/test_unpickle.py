from __future__ import annotations

import builtins
import os
import pickle
import subprocess
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactvlm.checkpoints.unpickle import read_array_pickle
from interactvlm.errors import CheckpointError


def written(path: Path, value: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Classes under chumpy's names, only to write pickles that name them."""
    names = {}
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("chumpy.ch", "add")):
        fake = sys.modules.get(module) or types.ModuleType(module)
        cls = type(name, (), {"__module__": module})
        setattr(fake, name, cls)
        monkeypatch.setitem(sys.modules, module, fake)
        names[name] = cls
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    return types.SimpleNamespace(**names)


def made(cls: type, **state: Any) -> Any:
    found = cls()
    found.__dict__.update(state)
    return found


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    value = OrderedDict(
        floats=np.arange(6, dtype=np.float64).reshape(2, 3),
        fortran=np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        swapped=np.arange(4, dtype=">f4"),
        flags=np.array([True, False]),
        words=np.array(["left", "right"]),
        number=np.float32(2.5),
        count=7,
        empty=np.zeros((0, 3)),
    )
    arrays, skipped = read_array_pickle(written(tmp_path / "a.pkl", value, protocol))
    assert skipped == []
    for key, expected in value.items():
        np.testing.assert_array_equal(arrays[key], expected)
        assert arrays[key].dtype == np.asarray(expected).dtype


def test_lift_dictionary_of_the_demo(tmp_path: Path) -> None:
    maps = [np.full((8, 8, 3), i, dtype=np.int64) for i in range(4)]
    value = {
        "pixel_to_vertices_map": maps,
        "bary_coords_map": [m.astype(np.float32) for m in maps],
        "num_vertices": 642,
    }
    arrays, _ = read_array_pickle(written(tmp_path / "lift2d_dict.pkl", value))
    np.testing.assert_array_equal(arrays["pixel_to_vertices_map"], np.stack(maps))
    assert arrays["bary_coords_map"].dtype == np.float32
    assert arrays["num_vertices"] == 642


def test_lists_of_different_shapes_are_numbered(tmp_path: Path) -> None:
    arrays, _ = read_array_pickle(written(tmp_path / "a.pkl", {"m": [np.zeros(2), np.ones(3)]}))
    assert sorted(arrays) == ["m.0", "m.1"]


def test_smpl_body_without_chumpy(tmp_path: Path, chumpy: types.SimpleNamespace) -> None:
    regressor = scipy.sparse.random(24, 60, density=0.1, random_state=0)
    shapes = np.random.default_rng(0).normal(size=(60, 3, 10))
    body = {
        "shapedirs": made(chumpy.Ch, x=shapes),
        "v_template": made(
            chumpy.Select, a=made(chumpy.Ch, x=shapes), idxs=np.arange(180) * 10, preferred_shape=(60, 3)
        ),
        "J_regressor": regressor.tocsc(),
        "J_regressor_prior": regressor.tocsr(),
        "J_coo": regressor.tocoo(),
        "kintree_table": np.array([[4294967295, 0], [0, 1]], dtype=np.uint32),
        "bs_style": "lbs",
        "part2num": {"head": 1},
    }
    arrays, skipped = read_array_pickle(written(tmp_path / "SMPL_NEUTRAL.pkl", body))
    np.testing.assert_array_equal(arrays["shapedirs"], shapes)
    np.testing.assert_array_equal(arrays["v_template"], shapes[:, :, 0])
    np.testing.assert_array_equal(arrays["J_regressor"], regressor.toarray())
    np.testing.assert_array_equal(arrays["J_regressor_prior"], regressor.toarray())
    assert arrays["bs_style"] == "lbs"
    assert skipped == ["part2num"]


def test_chumpy_expressions_are_refused(tmp_path: Path, chumpy: types.SimpleNamespace) -> None:
    body = {"J": made(chumpy.add, a=np.ones(3), b=np.ones(3))}
    with pytest.raises(CheckpointError, match=r"holds chumpy\.ch\.add under J"):
        read_array_pickle(written(tmp_path / "body.pkl", body))


class Runs:
    """A pickle that calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def attacks(mark: Path) -> dict[str, Any]:
    code = f"open({str(mark)!r}, 'w')"
    return {
        "os.system": Runs(os.system, f"touch {mark}"),
        "eval": Runs(eval, code),
        "exec": Runs(exec, code),
        "builtins.getattr": Runs(getattr, Runs(__import__, "os"), "system"),
        "builtins.open": Runs(builtins.open, str(mark), "w"),
        "builtins.__import__": Runs(__import__, "os"),
        "subprocess": Runs(subprocess.Popen, ["touch", str(mark)]),
        "numpy load": Runs(np.load, str(mark), "r", True),
        "codec": Runs(__import__("_codecs").encode, "x", "rot13"),
    }


@pytest.mark.parametrize("name", sorted(attacks(Path("x"))))
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_did_not_run(tmp_path: Path, name: str, protocol: int) -> None:
    mark = tmp_path / "it_ran"
    path = written(tmp_path / "bad.pkl", {"a": np.ones(3), "b": attacks(mark)[name]}, protocol)
    with pytest.raises(CheckpointError, match="is refused: ") as caught:
        read_array_pickle(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


def test_names_that_walk_through_an_allowed_module_are_refused(tmp_path: Path) -> None:
    for module, name in (
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("scipy.sparse.csc", "np.load"),
        ("collections", "namedtuple"),
    ):
        path = tmp_path / "bad.pkl"
        words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
        path.write_bytes(b"\x80\x04" + words + b"\x93.")
        with pytest.raises(CheckpointError, match="not on the list of allowed names"):
            read_array_pickle(path)


@pytest.mark.parametrize("value", [[1, 2], {"a": {}}, {3: np.ones(2)}, {"../a": np.ones(2)}])
def test_other_content_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError):
        read_array_pickle(written(tmp_path / "a.pkl", value))


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=200)
@given(data=st.data())
def test_damaged_pickles_end_in_one_error(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({"a": np.arange(4.0), "b": [np.ones(2), np.ones(2)]}, protocol=2))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.pkl"
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    try:
        arrays, _ = read_array_pickle(path)
    except CheckpointError:
        return
    assert all(not array.dtype.hasobject for array in arrays.values())
