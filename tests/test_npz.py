from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactvlm.errors import MeshError
from interactvlm.npz import array_names, read_arrays

HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 3), }"


def write(path, header, body=bytes(96), version=1):
    text = header.encode("latin1", "replace") + b"\n"
    magic = b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2, "little")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", magic + text + body)


def test_named_arrays_come_back(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.arange(6).reshape(2, 3), b=np.float32(1.5), c=np.array([None]))
    assert array_names(path) == ("a", "b", "c")
    arrays = read_arrays(path, ("a", "b"))
    np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
    assert arrays["b"] == 1.5
    with pytest.raises(MeshError, match=r"x\.npz: lacks y, z"):
        read_arrays(path, ("a", "z", "y"))
    with pytest.raises(MeshError, match=r"x\.npz: stores c as a Python object"):
        read_arrays(path, ("c",))


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(MeshError, match=r"none\.npz: does not exist"):
        array_names(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(MeshError, match=r"text\.npz: is damaged or not a .npz file"):
        array_names(tmp_path / "text.npz")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(HEADER) - 1), st.sampled_from("0123456789(),-'[]{} OVSUbcefiu<>|\0L")), max_size=3
    ),
    version=st.sampled_from([1, 1, 2, 3, 9]),
    length=st.integers(0, 96),
)
def test_strange_headers_end_in_an_array_or_one_sentence(tmp_path, changes, version, length):
    header = list(HEADER)
    for place, letter in changes:
        header[place] = letter
    write(tmp_path / "x.npz", "".join(header), bytes(length), version)
    outcome = None
    try:
        outcome = read_arrays(tmp_path / "x.npz", ("a",))["a"]
    except MeshError as error:
        outcome = str(error)
    assert isinstance(outcome, np.ndarray) or outcome.startswith("x.npz: ")
