"""Published tables of embeddings, `{ids: list of text, vectors: tensor [N, D]}` as torch.save wrote them.

Nobody vouches for such a pickle: the confined worker reads it and writes the vectors as safetensors, straight from the
mapped file, and the ids as JSON. The vectors are on disk a second time while they are used, never in memory.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.checkpoints.convert import run_worker
from interactvlm.checkpoints.safetensors_file import read_header, write_file
from interactvlm.checkpoints.weight_sources import is_torch_pickle, raw_bytes, unpickled
from interactvlm.errors import CheckpointError

__all__ = ["EmbeddingTable", "open_embedding_table", "write_embedding_table"]

_VECTORS = "vectors.safetensors"
_IDS = "ids.json"
_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_MAX_ID = 512


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingTable:
    """A table that is open for reading.

    Attributes:
        ids: one a row, all different.
        vectors: float16, float32 or float64 [N, D], mapped from a file.
    """

    ids: list[str]
    vectors: NDArray[np.floating[Any]]


@contextmanager
def open_embedding_table(
    source: Path, *, ids: str, vectors: str, near: Path, progress: Callable[[str], None] | None = None
) -> Iterator[EmbeddingTable]:
    """Read a table.

    Args:
        source: the file.
        ids: key of the list of ids.
        vectors: key of the tensor.
        near: a folder with room for the vectors once more while the context lasts.
        progress: told each step, in words.

    Raises:
        CheckpointError: the file is missing, damaged, asks for code, or holds no such table; the disk is full.
    """
    step = progress or (lambda _: None)
    if not source.is_file():
        raise CheckpointError(source, "does not exist or is no file")
    if not is_torch_pickle(source):
        raise CheckpointError(source, "is no file that torch.save wrote")
    needed, free = source.stat().st_size, shutil.disk_usage(near).free
    if needed > free:
        raise CheckpointError(near, f"needs {needed / 1e9:.1f} GB for a while, the disk has {free / 1e9:.1f} GB left")
    with tempfile.TemporaryDirectory(dir=near, prefix=".embeddings-") as staging:
        job = {"kind": "embeddings", "source": str(source.resolve()), "staging": staging}
        step(f"reading {source.name}")
        run_worker({**job, "ids": ids, "vectors": vectors}, source, step)
        (entry,) = read_header(Path(staging) / _VECTORS).values()
        mapped = np.memmap(
            Path(staging) / _VECTORS, dtype=_DTYPES[entry.dtype], mode="r", offset=entry.offset, shape=entry.shape
        )
        names = json.loads((Path(staging) / _IDS).read_text(encoding="utf-8"))
        yield EmbeddingTable(names, mapped)


def write_embedding_table(source: Path, staging: Path, *, ids: str, vectors: str) -> None:
    """What the worker does, behind its walls; arguments and errors as `open_embedding_table`."""
    content = unpickled(source)
    if not isinstance(content, dict) or not {ids, vectors} <= content.keys():
        raise CheckpointError(source, f"holds no {ids!r} and {vectors!r}")
    names, tensor = content[ids], content[vectors]
    dtype = {"torch.float16": "F16", "torch.float32": "F32", "torch.float64": "F64"}.get(
        str(getattr(tensor, "dtype", ""))
    )
    if dtype is None or tensor.ndim != 2 or not tensor.numel() or str(tensor.layout) != "torch.strided":
        raise CheckpointError(source, f"must hold float vectors [N, D] under {vectors!r}")
    if tensor.numel() * tensor.itemsize > source.stat().st_size:  # views that repeat a few numbers
        raise CheckpointError(source, f"declares {list(tensor.shape)} vectors, more than the file can hold")
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and 0 < len(n) <= _MAX_ID for n in names):
        raise CheckpointError(source, f"must hold a list of ids of up to {_MAX_ID} characters under {ids!r}")
    if len(names) != len(tensor) or len(set(names)) != len(names):
        raise CheckpointError(
            source, f"holds {len(names)} ids, {len(set(names))} of them different, for {len(tensor)} vectors"
        )
    write_file(staging / _VECTORS, [("vectors", dtype, tuple(tensor.shape))], iter([raw_bytes(tensor)]))
    (staging / _IDS).write_text(json.dumps(list(names)), encoding="utf-8")
