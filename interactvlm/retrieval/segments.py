"""Segments: immutable pieces of the table, each a folder with normalised fp16 vectors and their rows.

`vectors.faiss` is a faiss scalar-quantiser index in fp16 (searched where it lies, memory-mapped), `rows.arrow` an Arrow
IPC file in the same order (memory-mapped too). A folder appears under its name only when it is whole and on disk.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interactvlm.errors import CheckpointError, InputError
from interactvlm.retrieval.rows import ROW_SCHEMA

__all__ = [
    "MAX_DIMENSION",
    "Segment",
    "open_segment",
    "stored_blocks",
    "sync_folder",
    "unit_blocks",
    "unit_rows",
    "write_segment",
]

MAX_DIMENSION = 8192
"""Largest embedding, channels."""
_VECTORS = "vectors.faiss"
_ROWS = "rows.arrow"
#: Rows converted at a time: bounds the float32 copy of a large table.
_BLOCK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """An open segment.

    Attributes:
        name: of its folder.
        index: faiss index, inner product over fp16 codes, memory-mapped.
        rows: table in ROW_SCHEMA, memory-mapped.
    """

    name: str
    index: Any
    rows: pa.Table

    @property
    def dimension(self) -> int:
        """Channels of its vectors."""
        return int(self.index.d)

    def __len__(self) -> int:
        return int(self.index.ntotal)


def unit_rows(vectors: NDArray[np.floating[Any]], *, field: str = "embedding") -> NDArray[np.float32]:
    """Vectors of length 1.

    Args:
        vectors: [N, D].
        field: what error messages call them.

    Returns:
        float32 [N, D].

    Raises:
        InputError: not [N, D] with 1 <= D <= MAX_DIMENSION, NaN or infinite values, or a vector of length 0.
    """
    if vectors.ndim != 2 or not 1 <= vectors.shape[1] <= MAX_DIMENSION:
        raise InputError(field, f"has shape {vectors.shape}, it must be [N, D] with D from 1 to {MAX_DIMENSION}")
    values = vectors.astype(np.float32)
    lengths = np.linalg.norm(values.astype(np.float64), axis=1)
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        raise InputError(field, f"row {bad[0]} has length {lengths[bad[0]]}, it must be finite and above 0")
    unit: NDArray[np.float32] = (values / lengths[:, None]).astype(np.float32)
    return unit


def unit_blocks(vectors: NDArray[np.floating[Any]], *, field: str = "vectors") -> Iterator[NDArray[np.float32]]:
    """`unit_rows` of a table that may be memory-mapped and larger than memory, some thousand rows at a time."""
    for start in range(0, len(vectors), _BLOCK):
        yield unit_rows(vectors[start : start + _BLOCK], field=f"{field}[{start}:]")


def stored_blocks(segment: Segment, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Vectors of some rows of a segment, exactly as stored, some thousand at a time."""
    for start in range(0, len(rows), _BLOCK):
        yield segment.index.reconstruct_batch(rows[start : start + _BLOCK])


def write_segment(folder: Path, rows: pa.Table, blocks: Iterable[NDArray[np.float32]]) -> str:
    """Store a new segment durably.

    Args:
        folder: holds the segments.
        rows: table in ROW_SCHEMA, what the vectors belong to.
        blocks: float32 [n, D] of unit length, in the order of `rows`.

    Returns:
        The segment's name.

    Raises:
        InputError: a block is malformed, or vectors and rows differ in number; nothing is left behind.
    """
    name = uuid.uuid4().hex
    place = folder / f".{name}"
    place.mkdir(parents=True)
    try:
        faiss.write_index(_index(blocks, rows.num_rows), str(place / _VECTORS))
        with pa.OSFile(str(place / _ROWS), "wb") as stream, pa.ipc.new_file(stream, ROW_SCHEMA) as writer:
            writer.write_table(rows.unify_dictionaries().combine_chunks())
        for part in (_VECTORS, _ROWS):
            _sync_file(place / part)
        sync_folder(place)
        place.rename(folder / name)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return name


def open_segment(folder: Path, name: str) -> Segment:
    """Map a segment into memory.

    Raises:
        FileNotFoundError: there is no such segment (any more).
        CheckpointError: it is damaged.
    """
    place = folder / name
    if not place.is_dir():
        raise FileNotFoundError(place)
    try:
        index = faiss.read_index(str(place / _VECTORS), faiss.IO_FLAG_MMAP_IFC)
        with pa.memory_map(str(place / _ROWS)) as stream:
            rows = pa.ipc.open_file(stream).read_all()
    except (RuntimeError, OSError, pa.ArrowInvalid) as error:
        reason = str(error).strip().splitlines()[-1]
        raise CheckpointError(place, f"is damaged and must be restored or indexed anew: {reason}") from None
    if not isinstance(index, faiss.IndexScalarQuantizer) or index.ntotal != rows.num_rows or rows.schema != ROW_SCHEMA:
        raise CheckpointError(place, f"holds {index.ntotal} vectors and {rows.num_rows} rows that do not fit together")
    return Segment(name, index, rows)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _index(blocks: Iterable[NDArray[np.float32]], rows: int) -> Any:
    index = None
    for block in blocks:
        if index is None:
            width = block.shape[1]
            index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
            index.is_trained = True  # fp16 has nothing to learn
            index.codes.resize(rows * index.code_size)  # reserves: `add` starts at row 0 and never moves the codes
        index.add(block)
    if index is None or index.ntotal != rows:
        count = 0 if index is None else index.ntotal
        raise InputError("vectors", f"are {count} for {rows} rows; both must be equal and above 0")
    return index


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
