"""Arrays that are computed once and kept in the cache folder; safe to use from many processes at once."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from interactvlm.errors import CheckpointError

__all__ = ["cached_arrays"]

Arrays = Mapping[str, NDArray[np.generic]]


def cached_arrays(
    folder: Path, name: str, key: str, layout: Mapping[str, tuple[str, tuple[int, ...]]], build: Callable[[], Arrays]
) -> Arrays:
    """The arrays of that name and key, built where they are not there or damaged; one process at a time builds.

    Older keys of the same name are deleted once the new one is whole.

    Args:
        folder: of the cache; made where it does not exist.
        name: what they are ("views").
        key: of everything they depend on.
        layout: dtype and shape of each array; a file of another layout counts as damaged.
        build: computes them.

    Raises:
        CheckpointError: the cache cannot be written.
    """
    path = folder / f"{name}-{key}.safetensors"
    found = _read(path, layout)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it however this process ends
            found = _read(path, layout)  # another process may have built it while this one waited
            if found is None:
                found = build()
                _write(path, found)
                for old in folder.glob(f"{name}-*.safetensors"):
                    if old != path:
                        old.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(folder, f"cannot hold retrieval's index ({error})") from None
    return found


def _read(path: Path, layout: Mapping[str, tuple[str, tuple[int, ...]]]) -> Arrays | None:
    try:
        arrays: Arrays = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError):
        return None
    return arrays if {n: (a.dtype.name, a.shape) for n, a in arrays.items()} == dict(layout) else None


def _write(path: Path, arrays: Arrays) -> None:
    for draft in path.parent.glob(f".{path.name}.*"):  # of a process that was killed
        draft.unlink(missing_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("wb") as stream:
            stream.write(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
