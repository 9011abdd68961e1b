"""Reading pickles of arrays (`lift2d_dict.pkl`, SMPL body files) with an unpickler that can only rebuild arrays.

A pickle is a program: it names functions and calls them. Here the only names it may use are those in `_ALLOWED`, and
each is replaced by a function of this module that builds an array, or by a stand-in that keeps attributes and runs
nothing. Even so it is run in a process of its own (`convert_worker`), because numpy parses what it is given.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import CheckpointError

__all__ = ["read_array_pickle", "read_value_pickle"]

Array = NDArray[Any]
_PLAIN_DTYPE = re.compile(r"[?bBhHiIlLqQefdgFDG]|[biufcSUO][0-9]{0,4}")


class _StandIn:
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


def _stand_in(module: str, name: str) -> type[_StandIn]:
    return type(name, (_StandIn,), {"module": module, "name": name})


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


class _Array:
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


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> _Array:
    """What protocol 5 writes for arrays."""
    array = _Array()
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


def _new_object(cls: object, base: object, state: object) -> _StandIn:
    """`copyreg._reconstructor`: Python 2's way to create an object."""
    if not (isinstance(cls, type) and issubclass(cls, _StandIn)) or base is not object or state is not None:
        raise pickle.UnpicklingError("an object is declared in an unusual way")
    return cls()


_ALLOWED: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "object"): object,
    ("copyreg", "_reconstructor"): _new_object,
}
for _package in ("numpy.core", "numpy._core"):
    _ALLOWED[(f"{_package}.multiarray", "_reconstruct")] = _Array
    _ALLOWED[(f"{_package}.multiarray", "scalar")] = _scalar
    _ALLOWED[(f"{_package}.numeric", "_frombuffer")] = _frombuffer
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
#: Packages whose objects come in as stand-ins; `_to_array` knows the classes that hold numbers.
_STAND_IN_PACKAGES = ("chumpy.", "scipy.sparse.")


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = _PYTHON_2.get(module, module)
        found = _ALLOWED.get((module, name))
        if found is not None:
            return found
        if module.startswith(_STAND_IN_PACKAGES) and name.isidentifier():
            return _stand_in(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not on the list of allowed names")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside of itself")


def read_array_pickle(path: Path) -> tuple[dict[str, Array], list[str]]:
    """The arrays of a pickled dict, by key, and the keys that hold something else and were left out.

    Lists of arrays of one shape are stacked ([4, H, W, 3] for `lift2d_dict.pkl`, views in the list's order); lists of
    different shapes become `key.0`, `key.1`, ... SciPy's sparse matrices become dense (SMPL's joint regressor,
    [24, 6890]). Chumpy arrays become their values: `Ch` its `x`, `Select` the selected entries of its source; other
    chumpy expressions are refused, as computing them would need that package.

    Raises:
        CheckpointError: the pickle asks for a name outside the list, is damaged, or holds no dict with arrays.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except CheckpointError:
        raise
    except Exception as error:  # noqa: BLE001 - a hostile pickle can make any of numpy's and pickle's errors
        raise CheckpointError(path, f"is refused: {str(error) or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise CheckpointError(path, f"must hold a dict of arrays, not {type(content).__name__}")
    arrays: dict[str, Array] = {}
    skipped: list[str] = []
    for key, value in content.items():
        if not isinstance(key, str) or not key or "/" in key or "\\" in key or "\0" in key:
            raise CheckpointError(path, f"has the key {key!r}, which cannot name an array")
        parts = _parts(path, key, value)
        arrays.update(parts)
        if not parts:
            skipped.append(key)
    if not arrays:
        raise CheckpointError(path, "holds no arrays")
    return arrays, skipped


#: Depth and number of the containers' members in a value; a pickle can name one list a million times for free.
_MAX_DEPTH = 16
_MAX_MEMBERS = 20_000_000


def read_value_pickle(file: IO[bytes], source: object) -> Any:
    """Any pickled value of plain containers, plain scalars and arrays: dicts with text keys, lists, arrays.

    Tuples, sets (sorted) and arrays of objects come back as lists, numpy's scalars as Python's.

    Args:
        file: at the first byte of the pickle.
        source: named in errors.

    Raises:
        CheckpointError: the pickle asks for a name outside the list, is damaged, or holds anything else.
    """
    try:
        return _plain(_ArrayUnpickler(file, encoding="latin1").load(), [0], 0)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a hostile pickle can make any of numpy's and pickle's errors
        raise CheckpointError(source, f"is refused: {str(error) or type(error).__name__}") from None


def _plain(value: Any, count: list[int], depth: int) -> Any:
    count[0] += 1
    if depth > _MAX_DEPTH or count[0] > _MAX_MEMBERS:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH} or has more than {_MAX_MEMBERS} members")
    if isinstance(value, _Array):
        if value.value is not None:
            return value.value
        if value.members is None:
            raise ValueError("it holds an array of objects that is not one-dimensional")
        return _plain(value.members, count, depth)
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(member, count, depth + 1) for member in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("it holds a dict with keys that are no text")
        return {key: _plain(member, count, depth + 1) for key, member in value.items()}
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"it holds a {type(value).__name__}")


def _parts(path: Path, key: str, value: Any) -> dict[str, Array]:
    if isinstance(value, (list, tuple)) and value and any(isinstance(v, (_Array, _StandIn)) for v in value):
        members = [_to_array(path, key, member) for member in value]
        if any(member is None for member in members):
            return {}
        found = [member for member in members if member is not None]
        if len({member.shape for member in found}) == 1:
            return {key: np.stack(found)}
        return {f"{key}.{i}": member for i, member in enumerate(found)}
    array = _to_array(path, key, value)
    return {} if array is None else {key: array}


def _to_array(path: Path, key: str, value: Any) -> Array | None:
    """The numbers in `value`, None when it is something else (a dict, an object array)."""
    value = _numbers(path, key, value)
    if value is None or isinstance(value, dict):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # ragged lists
        return None
    return None if array.dtype.hasobject else array


def _numbers(path: Path, key: str, value: Any) -> Any:
    """What an array or stand-in holds; anything else as it is."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, tuple):
        return tuple(_numbers(path, key, part) for part in value)
    if not isinstance(value, _StandIn):
        return value
    state = value.state
    try:
        if value.module.startswith("scipy.sparse."):
            return _dense(value.name, {name: _numbers(path, key, part) for name, part in state.items()})
        if value.name == "Ch" and "x" in state:
            return np.asarray(_numbers(path, key, state["x"]))
        if value.name == "Select" and {"a", "idxs"} <= state.keys():
            chosen = np.asarray(_numbers(path, key, state["a"])).ravel()[np.asarray(_numbers(path, key, state["idxs"]))]
            shape = state.get("preferred_shape")
            return chosen if shape is None else chosen.reshape(tuple(int(n) for n in shape))
    except (KeyError, ValueError, IndexError, TypeError, RecursionError) as error:
        raise CheckpointError(path, f"has a damaged {value.name} under {key} ({error})") from None
    raise CheckpointError(path, f"holds {value.module}.{value.name} under {key}, whose values cannot be read off")


def _dense(name: str, state: dict[str, Any]) -> Array:
    """A dense copy of a pickled scipy matrix (csc, csr or coo), indices checked by numpy."""
    rows, columns = (int(n) for n in state["_shape" if "_shape" in state else "shape"])
    if min(rows, columns) < 0 or rows * columns > 1 << 27:
        raise ValueError(f"{rows} x {columns} is too large")
    if name.startswith(("csc", "csr")):
        major = np.repeat(np.arange(len(state["indptr"]) - 1), np.diff(state["indptr"]))
        index = (state["indices"], major) if name.startswith("csc") else (major, state["indices"])
    else:
        index = tuple(state["coords"]) if "coords" in state else (state["row"], state["col"])
    dense = np.zeros((rows, columns), dtype=state["data"].dtype)
    np.add.at(dense, index, state["data"])
    return dense
