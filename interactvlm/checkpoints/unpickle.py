"""Reading pickles of arrays (`lift2d_dict.pkl`, SMPL body files) with an unpickler that can only rebuild arrays.

Even so it is run in a process of its own (`convert_worker`), because numpy parses what it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np

from interactvlm.checkpoints.pickle_names import Array, ArrayUnpickler, PickledArray, StandIn
from interactvlm.errors import CheckpointError

__all__ = ["read_array_pickle", "read_value_pickle"]

#: Depth and number of the containers' members in a value; a pickle can name one list a million times for free.
_MAX_DEPTH = 16
_MAX_MEMBERS = 20_000_000


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
            content = ArrayUnpickler(file, encoding="latin1").load()
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
        return _plain(ArrayUnpickler(file, encoding="latin1").load(), [0], 0)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a hostile pickle can make any of numpy's and pickle's errors
        raise CheckpointError(source, f"is refused: {str(error) or type(error).__name__}") from None


def _plain(value: Any, count: list[int], depth: int) -> Any:
    count[0] += 1
    if depth > _MAX_DEPTH or count[0] > _MAX_MEMBERS:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH} or has more than {_MAX_MEMBERS} members")
    if isinstance(value, PickledArray):
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
    if isinstance(value, (list, tuple)) and value and any(isinstance(v, (PickledArray, StandIn)) for v in value):
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
    if isinstance(value, PickledArray):
        return value.value
    if isinstance(value, tuple):
        return tuple(_numbers(path, key, part) for part in value)
    if not isinstance(value, StandIn):
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
