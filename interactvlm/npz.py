"""Reading numpy archives that somebody else wrote: no pickles, and no memory for what a header merely claims."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from interactvlm.errors import InteractVLMError, MeshError

__all__ = ["MAX_ELEMENTS", "array_names", "damage_named", "read_arrays"]

MAX_ELEMENTS = 200_000_000
"""Largest array that is read: SMPL-X's pose blend shapes have 15 million numbers, a dense map 72 million."""


def array_names(path: Path) -> tuple[str, ...]:
    """Names of the arrays in an npz file; MeshError when it is none."""
    with damage_named(path), zipfile.ZipFile(path) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """The named numeric arrays of an npz file.

    Raises:
        MeshError: when the file is no npz, lacks a name, or an array holds Python objects, is truncated or larger
            than MAX_ELEMENTS.
    """
    missing = sorted(set(names) - set(array_names(path)))
    if missing:
        raise MeshError(path.name, f"lacks {', '.join(missing)}")
    arrays = {}
    with damage_named(path), zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(f"{name}.npy") as stream:
                _check_header(path, name, stream)
            with archive.open(f"{name}.npy") as stream:
                arrays[name] = npy.read_array(stream, allow_pickle=False)
    return arrays


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes zip, deflate and header readers raise into one MeshError."""
    try:
        yield
    except InteractVLMError:
        raise
    except FileNotFoundError:
        raise MeshError(path.name, "does not exist") from None
    except Exception as error:  # noqa: BLE001 -- seen: TokenError, zlib.error, NotImplementedError, TypeError
        raise MeshError(path.name, f"is damaged or not a {path.suffix} file ({type(error).__name__})") from None


def _check_header(path: Path, name: str, stream: IO[bytes]) -> None:
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if dtype.hasobject:
        raise MeshError(
            path.name, f"stores {name} as a Python object, which could run code; save it as a plain numeric array"
        )
    count = int(np.prod([int(length) for length in shape], dtype=object)) if shape else 1
    if count > MAX_ELEMENTS:
        raise MeshError(path.name, f"declares {count} numbers in {name}, the limit is {MAX_ELEMENTS}")
