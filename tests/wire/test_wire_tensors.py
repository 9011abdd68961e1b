from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from interactvlm.errors import InputError
from interactvlm.v1 import types_pb2
from interactvlm.wire import from_tensor, to_tensor

ALL = (np.float32, np.float16, np.int32, np.uint8)


@given(
    arrays.arrays(
        st.sampled_from([np.dtype(kind) for kind in ALL]),
        arrays.array_shapes(min_dims=0, max_dims=8, min_side=0, max_side=3),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_every_array_comes_back(array: np.ndarray) -> None:
    message = types_pb2.Tensor.FromString(to_tensor(array).SerializeToString())
    back = from_tensor(message, field="x", dtypes=ALL, shape=(None,) * array.ndim)
    np.testing.assert_array_equal(back, array, strict=True)
    assert not back.flags.writeable


def test_strides_and_byte_order_do_not_matter() -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4).T
    np.testing.assert_array_equal(from_tensor(to_tensor(array), field="x", dtypes=[np.int32], shape=(4, 3)), array)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros(3, np.int64), np.zeros(3, bool), np.zeros((1,) * 9, np.uint8)])
def test_other_arrays_are_a_mistake(array: np.ndarray) -> None:
    with pytest.raises(TypeError, match="does not travel"):
        to_tensor(array)


def _tensor(element_type: int = 1, shape: tuple[int, ...] = (2, 3), data: bytes = bytes(24)) -> types_pb2.Tensor:
    return types_pb2.Tensor(element_type=element_type, shape=shape, data=data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (types_pb2.Tensor(), "has element type 0, must be float32"),
        (_tensor(element_type=77), "has element type 77"),
        (_tensor(element_type=3), "has element type ELEMENT_TYPE_INT32, must be float32"),
        (_tensor(shape=(6,)), r"has shape \[6\], must be \[any, 3\]"),
        (_tensor(shape=(3, 2)), "has shape"),
        (_tensor(shape=(-2, 3)), "has shape"),
        (_tensor(shape=(2, 3, 1)), "has shape"),
        (_tensor(shape=(1,) * 1000), "has shape"),
        (_tensor(shape=(2**62, 3)), "holds 24 bytes, its shape .* needs"),
        (_tensor(data=bytes(23)), "holds 23 bytes"),
        (_tensor(data=bytes(28)), "holds 28 bytes"),
        (_tensor(data=np.array([0, 1, np.nan, 3, 4, 5], "<f4").tobytes()), "not finite"),
        (_tensor(data=np.array([0, 1, np.inf, 3, 4, 5], "<f4").tobytes()), "not finite"),
    ],
)
def test_malformed_tensors_are_refused_by_name(message: types_pb2.Tensor, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        from_tensor(message, field="queries[2].embedding", dtypes=(np.float32,), shape=(None, 3))
    assert caught.value.field == "queries[2].embedding"
    assert len(str(caught.value)) < 200


def test_no_elements_beside_huge_extents() -> None:
    with pytest.raises(InputError, match="beyond any array"):
        from_tensor(_tensor(shape=(0, 2**62, 4), data=b""), field="x", dtypes=ALL, shape=(None, None, None))


@given(st.integers(-1, 9), st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=10), st.binary())
def test_any_message_is_read_or_refused(element_type: int, shape: list[int], data: bytes) -> None:
    message = _tensor(element_type, tuple(shape), data)
    refusal = None
    try:
        array = from_tensor(message, field="x", dtypes=ALL, shape=(None,) * len(shape))
    except InputError as error:
        refusal = error
    assert refusal.field == "x" if refusal else array.nbytes == len(data)


def test_the_package_needs_neither_torch_nor_grpc() -> None:
    code = "import sys, interactvlm.wire; print([m for m in ('torch', 'grpc') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\[\]\s*", done.stdout)
