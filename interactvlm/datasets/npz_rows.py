"""Label files (npz) read row by row: a data set's arrays may be larger than memory, and may hold Python objects."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from interactvlm.checkpoints.values import read_values
from interactvlm.errors import CheckpointError, InputError

__all__ = ["MAX_ROWS", "MAX_ROW_BYTES", "LabelFile", "read_pickles"]

MAX_ROWS = 10_000_000
"""Rows of one array; DAMON has thousands."""
MAX_ROW_BYTES = 64 << 20
"""Bytes of one row; a body's contact has some 55 kB."""


class LabelFile:
    """An npz file whose arrays have one row a sample.

    Args:
        path: the file.

    Raises:
        InputError: it is missing or no npz file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except FileNotFoundError:
            raise InputError(str(path), "does not exist") from None
        except Exception as error:  # noqa: BLE001 - a damaged directory makes zipfile raise anything
            raise InputError(str(path), f"is not a readable npz file ({type(error).__name__})") from None
        self.names = tuple(names)

    def count(self, name: str) -> int:
        """Number of rows of one array; errors as `rows`."""
        return self._header(name)[0][0]

    def rows(self, name: str) -> Iterator[Any]:
        """The rows of one array in order: arrays, or numpy or Python scalars; items of arrays of objects as they are.

        Numbers and text are read off the file as they are asked for. Arrays of objects are pickles, which the
        confined process reads.

        Raises:
            InputError: the array is missing, damaged, truncated, has no rows, or is beyond the limits.
        """
        shape, fortran, dtype = self._header(name)
        if dtype.hasobject:
            yield from _as_input_error(read_values([self.path], member=name))
            return
        row_bytes = int(np.prod([int(n) for n in shape[1:]], dtype=object)) * dtype.itemsize
        if row_bytes > MAX_ROW_BYTES or row_bytes == 0:
            raise self.error(name, f"has rows of {row_bytes} bytes, the limits are 1 and {MAX_ROW_BYTES}")
        if fortran and len(shape) > 1:
            raise self.error(name, "is stored by columns; save it by rows (numpy.ascontiguousarray)")
        yield from self._numeric_rows(name, shape, dtype, row_bytes)

    def error(self, name: str, problem: str) -> InputError:
        """An error about one array of this file."""
        return InputError(f"{self.path}: {name}", problem)

    def _header(self, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        if name not in self.names:
            raise self.error(name, f"is missing; the file has {', '.join(self.names[:12]) or 'nothing'}")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as stream:
                shape, fortran, dtype = _read_header(stream)
        except Exception as error:  # noqa: BLE001 - seen: TokenError, zlib.error, NotImplementedError, TypeError
            raise self.error(name, f"is damaged ({type(error).__name__})") from None
        if not shape or not 0 <= shape[0] <= MAX_ROWS:
            raise self.error(name, f"has the shape {list(shape)}; it needs one row a sample, at most {MAX_ROWS}")
        return shape, fortran, dtype

    def _numeric_rows(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], row_bytes: int
    ) -> Iterator[NDArray[Any]]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as stream:
            _read_header(stream)
            for row in range(shape[0]):
                try:
                    data = stream.read(row_bytes)
                except Exception as error:  # noqa: BLE001 - as above
                    raise self.error(f"{name}[{row}]", f"is damaged ({type(error).__name__})") from None
                if len(data) != row_bytes:
                    raise self.error(f"{name}[{row}]", f"is cut off: {len(data)} of {row_bytes} bytes")
                yield np.frombuffer(data, dtype=dtype).reshape(shape[1:])


def read_pickles(paths: list[Path]) -> Iterator[Any]:
    """The values of pickles, one each, read by the confined process.

    Raises:
        InputError: one is missing, damaged, or asks for code.
    """
    yield from _as_input_error(read_values(paths))


def _as_input_error(values: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from values
    except CheckpointError as error:
        raise InputError(error.folder, error.problem) from None


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    return tuple(int(length) for length in shape), bool(fortran), dtype
