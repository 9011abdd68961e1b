"""Folders of Parquet shards: written atomically, read at random or in order.

::

    FOLDER/train-000000.parquet    samples 0... of the split "train"
    FOLDER/train-000001.parquet
    FOLDER/surfaces/<hash>.npz     each mesh once, whichever shards refer to it
"""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from interactvlm.datasets.sample import ContactSample
from interactvlm.datasets.shard_format import (
    SCHEMA,
    SCHEMA_VERSION,
    decode_surface,
    encode_surface,
    from_row,
    surface_key,
    to_row,
)
from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh, PointCloud

__all__ = ["ShardedSamples", "read_shards", "shard_path", "write_shard"]

#: Rows that are read together: small, because training reads in random order.
_ROWS_A_GROUP = 4
#: Surfaces and open shards that a reader keeps.
_KEPT_SURFACES = 512
_KEPT_FILES = 16

Annotated = tuple[ContactSample, Mapping[str, Any] | None]


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Where shard `number` of a split lies."""
    return folder / f"{split}-{number:06d}.parquet"


def write_shard(
    folder: Path, split: str, number: int, samples: Iterable[Annotated], *, origin: Mapping[str, str] | None = None
) -> Path:
    """Write one shard: complete under its name, or not at all.

    Args:
        folder: made where it is missing.
        split: letters, digits and underscores.
        number: from 0.
        samples: each with its geometry column (see `shard_format`), None where there is none.
        origin: how it was made; kept in the file's metadata.

    Raises:
        InputError: the split's name cannot be part of a file name.
    """
    if not re.fullmatch(r"\w+", split):
        raise InputError("split", f"{split!r} may hold letters, digits and underscores only")
    stored = folder / "surfaces"
    stored.mkdir(parents=True, exist_ok=True)
    rows = []
    for sample, geometry in samples:
        for item in sample.objects:
            target = stored / f"{surface_key(item.surface)}.npz"
            if not target.exists():
                _replace(target, encode_surface(item.surface))
        rows.append(to_row(sample, geometry))
    schema = SCHEMA.with_metadata({**(SCHEMA.metadata or {}), **{k.encode(): v for k, v in (origin or {}).items()}})
    table = pa.Table.from_pylist(rows, schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=_ROWS_A_GROUP, compression="zstd", use_dictionary=False)
    path = shard_path(folder, split, number)
    _replace(path, sink.getvalue().to_pybytes())
    return path


def read_shards(folder: Path, split: str) -> ShardedSamples:
    """The samples of a split, in the order of their shards.

    Raises:
        InputError: there are none, or a shard is damaged or of another version.
    """
    return ShardedSamples(folder, split)


class ShardedSamples(Sequence[ContactSample]):
    """A split's samples: `len`, `[i]` in any order (a few rows are read each time), and iteration in order.

    Raises:
        InputError: there are no shards, or one of them is damaged or of another version; the sentence names the file.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self._folder = folder
        self._paths = sorted(folder.glob(f"{split}-[0-9]*.parquet"))
        if not self._paths:
            raise InputError(str(folder), f"holds no shards of the split {split!r}")
        self._files: OrderedDict[Path, pq.ParquetFile] = OrderedDict()
        self._surfaces: OrderedDict[str, Mesh | PointCloud] = OrderedDict()
        self._ends: list[int] = []
        for path in self._paths:
            rows = self._open(path).metadata.num_rows
            self._ends.append((self._ends[-1] if self._ends else 0) + rows)

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens its own files.
        return {**self.__dict__, "_files": OrderedDict(), "_surfaces": OrderedDict()}

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> ContactSample: ...

    @overload
    def __getitem__(self, index: slice) -> list[ContactSample]: ...

    def __getitem__(self, index: int | slice) -> ContactSample | list[ContactSample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        path, row = self._place(index)
        group = row // _ROWS_A_GROUP
        return self._sample(path, self._rows(path, group)[row % _ROWS_A_GROUP])

    def __iter__(self) -> Iterator[ContactSample]:
        for path in self._paths:
            for group in range(self._open(path).num_row_groups):
                for row in self._rows(path, group):
                    yield self._sample(path, row)

    def geometry(self, index: int) -> dict[str, Any] | None:
        """The geometry column of a sample as it is stored (see `shard_format`)."""
        path, row = self._place(index)
        rows = self._rows(path, row // _ROWS_A_GROUP, columns=["geometry"])
        found: dict[str, Any] | None = rows[row % _ROWS_A_GROUP]["geometry"]
        return found

    def _place(self, index: int) -> tuple[Path, int]:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = bisect_right(self._ends, place)
        return self._paths[shard], place - (self._ends[shard - 1] if shard else 0)

    def _open(self, path: Path) -> pq.ParquetFile:
        if path in self._files:
            self._files.move_to_end(path)
            return self._files[path]
        try:
            file = pq.ParquetFile(path, memory_map=True)  # no file position that forked readers would share
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from None
        version = (file.schema_arrow.metadata or {}).get(b"interactvlm_schema", b"?").decode(errors="replace")
        if version != str(SCHEMA_VERSION):
            raise InputError(str(path), f"is of schema version {version}; this reads version {SCHEMA_VERSION}")
        self._files[path] = file
        if len(self._files) > _KEPT_FILES:
            self._files.popitem(last=False)[1].close()
        return file

    def _rows(self, path: Path, group: int, *, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        wanted = columns or [name for name in SCHEMA.names if name != "geometry"]
        try:
            table = self._open(path).read_row_group(group, columns=list(wanted), use_threads=False)
            rows: list[dict[str, Any]] = table.to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _damaged(path, error) from None
        return rows

    def _sample(self, path: Path, row: Mapping[str, Any]) -> ContactSample:
        try:
            surfaces = {item["surface"]: self._surface(item["surface"]) for item in row["objects"]}
            return from_row(row, surfaces)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from None

    def _surface(self, key: str) -> Mesh | PointCloud:
        if key in self._surfaces:
            self._surfaces.move_to_end(key)
            return self._surfaces[key]
        path = self._folder / "surfaces" / f"{key}.npz"
        try:
            if not re.fullmatch(r"[0-9a-f]{64}", key):
                raise ValueError("no content hash")
            surface = decode_surface(path.read_bytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, InputError) as error:
            raise InputError(str(path), f"a surface is missing or damaged ({error})") from None
        self._surfaces[key] = surface
        if len(self._surfaces) > _KEPT_SURFACES:
            self._surfaces.popitem(last=False)
        return surface


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that it is complete whenever it is there."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _damaged(path: Path, error: BaseException) -> InputError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(str(path), f"is damaged or no shard ({first[:200]}); delete it and make it again")
