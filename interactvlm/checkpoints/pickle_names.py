"""The only names that a pickle may use, and the inert thing that stands for each.

A pickle is a program: it names functions and calls them. Here it may name what is in `_ALLOWED`, and each of these is
replaced by a function of this module that builds an array, or by a stand-in that keeps attributes and runs nothing.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "ArrayUnpickler", "PickledArray", "StandIn"]

Array = NDArray[Any]
_PLAIN_DTYPE = re.compile(r"[?bBhHiIlLqQefdgFDG]|[biufcSUO][0-9]{0,4}")


class StandIn:
    """An object of a class that is not ours to run: its constructor's arguments and its attributes, inert."""

    module = ""
    name = ""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2:  # (dict, slots)
            state = state[0]
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"{self.module}.{self.name} carries no attributes")
        self.state = state


def _stand_in(module: str, name: str) -> type[StandIn]:
    return type(name, (StandIn,), {"module": module, "name": name})


class _DType:
    """A plain numpy dtype, built from its code and byte order only: pickled fields and subarrays are refused."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise pickle.UnpicklingError(f"dtype {code!r} is not a plain one")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("a dtype is declared in an unusual way")
        if state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class PickledArray:
    """An array, built from its bytes once they are known to fit; for arrays of objects `value` is None, and `members`
    lists what they hold.
    """

    def __init__(self, *_: object) -> None:
        self.value: Array | None = None
        self.members: list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise pickle.UnpicklingError("an array is declared in an unusual way")
        shape, dtype, fortran, data = state[-4:]
        self.value = _from_bytes(data, dtype, shape, "F" if fortran else "C")
        if self.value is None and isinstance(data, list) and shape in ((), (len(data),)):
            self.members = data


def _from_bytes(data: object, dtype: object, shape: object, order: object = "C") -> Array | None:
    """An array over `data` (text stands for latin1 bytes in Python 2's pickles)."""
    if not isinstance(dtype, _DType):
        raise pickle.UnpicklingError("an array lacks its dtype")
    if dtype.value.hasobject:
        return None
    raw = data.encode("latin1") if isinstance(data, str) else data
    axes = (shape,) if isinstance(shape, int) else shape
    if not isinstance(axes, tuple) or not all(type(n) is int and n >= 0 for n in axes):
        raise pickle.UnpicklingError(f"an array has the shape {axes!r}")
    if not isinstance(raw, (bytes, bytearray)) or len(raw) != math.prod(axes) * dtype.value.itemsize:
        raise pickle.UnpicklingError("an array's bytes do not fit its shape")
    return np.frombuffer(raw, dtype=dtype.value).reshape(axes, order="F" if order == "F" else "C")


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> PickledArray:
    """What protocol 5 writes for arrays."""
    array = PickledArray()
    array.value = _from_bytes(data, dtype, shape, order)
    return array


def _scalar(dtype: object, data: object = b"") -> Any:
    array = _from_bytes(data, dtype, ())
    return None if array is None else array[()]


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """What Python 3 writes for bytes in old protocols; other codecs could decompress."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"codec {encoding!r} is not allowed")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """What Python 3 writes for empty bytes in old protocols."""
    return b""


def _new_object(cls: object, base: object, state: object) -> StandIn:
    """`copyreg._reconstructor`: Python 2's way to create an object."""
    if not (isinstance(cls, type) and issubclass(cls, StandIn)) or base is not object or state is not None:
        raise pickle.UnpicklingError("an object is declared in an unusual way")
    return cls()


_ALLOWED: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "object"): object,
    ("copyreg", "_reconstructor"): _new_object,
}
for _package in ("numpy.core", "numpy._core"):
    _ALLOWED[(f"{_package}.multiarray", "_reconstruct")] = PickledArray
    _ALLOWED[(f"{_package}.multiarray", "scalar")] = _scalar
    _ALLOWED[(f"{_package}.numeric", "_frombuffer")] = _frombuffer
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
#: Packages whose objects come in as stand-ins; `unpickle` knows the classes that hold numbers.
_STAND_IN_PACKAGES = ("chumpy.", "scipy.sparse.")


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can rebuild arrays and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name in the pickle."""
        module = _PYTHON_2.get(module, module)
        found = _ALLOWED.get((module, name))
        if found is not None:
            return found
        if module.startswith(_STAND_IN_PACKAGES) and name.isidentifier():
            return _stand_in(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not on the list of allowed names")

    def persistent_load(self, pid: Any) -> Any:
        """Refused."""
        raise pickle.UnpicklingError("it refers to objects outside of itself")
