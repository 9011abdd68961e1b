"""Pickled values that nobody vouches for, read in the confined process: labels of data sets, one file or thousands.

The worker unpickles with `unpickle.read_value_pickle` and writes one line of JSON a value; this process reads those
lines one at a time, so that neither trusts a pickle nor holds a whole data set. Arrays travel as their bytes.
"""

from __future__ import annotations

import base64
import json
import math
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from interactvlm.checkpoints.convert import run_worker
from interactvlm.checkpoints.unpickle import read_value_pickle
from interactvlm.errors import CheckpointError

__all__ = ["read_values", "write_values"]

_KINDS = "biufU"


def read_values(sources: Sequence[Path], *, member: str | None = None) -> Iterator[Any]:
    """The values of pickles, or the items of one array of objects in an npz file.

    Args:
        sources: pickles, each one value; with `member`, one npz file.
        member: name of the array in that file; its items are the values, a single value where it has no axis.

    Yields:
        Dicts with text keys, lists, arrays of numbers or text, plain scalars; in the order of the sources.

    Raises:
        CheckpointError: a file is missing or damaged, or a pickle asks for code.
    """
    for source in sources:
        if not source.is_file():
            raise CheckpointError(source, "does not exist or is no file")
    if not sources:
        return
    with tempfile.TemporaryDirectory(prefix="interactvlm-values-") as folder:
        job = {
            "kind": "values",
            "sources": [str(source.resolve()) for source in sources],
            "member": member,
            "staging": folder,
            "name": "values.jsonl",
        }
        run_worker(job, sources[0], lambda _: None)
        with (Path(folder) / "values.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield _decoded(json.loads(line), sources[0])


def write_values(sources: Sequence[Path], member: str | None, target: Path) -> None:
    """What the worker does, behind its walls; arguments and errors as `read_values`."""
    with target.open("x", encoding="utf-8") as lines:
        for source in sources:
            if member is None:
                with source.open("rb") as file:
                    values = [read_value_pickle(file, source)]
            else:
                values = _npz_items(source, member)
            for value in values:
                lines.write(json.dumps(_encoded(value, source)) + "\n")


def _npz_items(source: Path, member: str) -> list[Any]:
    subject = f"{source}: {member}"
    try:
        with zipfile.ZipFile(source) as archive, archive.open(f"{member}.npy") as file:
            read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read_header(file)
            if not dtype.hasobject or len(shape) > 1:
                raise CheckpointError(subject, f"is {dtype} of shape {list(shape)}, not a list of objects")
            found = read_value_pickle(file, subject)
    except CheckpointError:
        raise
    except Exception as error:  # noqa: BLE001 - zip, deflate and header readers raise anything on a damaged file
        raise CheckpointError(subject, f"is damaged or missing ({type(error).__name__})") from None
    if not isinstance(found, list) or len(found) != math.prod(shape):
        raise CheckpointError(subject, f"declares {math.prod(shape)} items and holds something else")
    return found


def _encoded(value: Any, source: Path) -> Any:
    """As JSON; containers and arrays are tagged by the one key of a dict."""
    if isinstance(value, dict):
        return {"dict": {key: _encoded(member, source) for key, member in value.items()}}
    if isinstance(value, list):
        return {"list": [_encoded(member, source) for member in value]}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _KINDS:
            raise CheckpointError(source, f"holds an array of {value.dtype}, which is neither numbers nor text")
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"array": [value.dtype.str, list(value.shape), data]}
    return value


def _decoded(value: Any, source: Path) -> Any:
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "dict":
        return {key: _decoded(member, source) for key, member in content.items()}
    if tag == "list":
        return [_decoded(member, source) for member in content]
    code, shape, data = content
    dtype = np.dtype(code)
    if dtype.kind not in _KINDS:
        raise CheckpointError(source, f"came back with an array of {code}")
    return np.frombuffer(base64.b64decode(data), dtype=dtype).reshape(shape)
