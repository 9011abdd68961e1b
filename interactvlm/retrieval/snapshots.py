"""Versioned snapshots of the table: readers see one whole version, writers add the next, a crash leaves either.

::

    TABLE/
      segments/<name>/            immutable (see `segments`)
      removed/<name>.npy          row numbers of one segment that are gone, sorted
      snapshots/<version>.json    which segments, minus which rows; the highest number is current
      lock                        held by the one writer

Publishing a snapshot is one `link` of a finished, synced file: before it the old version is current, after it the new.
A reader holds a shared lock on its snapshot's file, so that cleaning never takes files from under it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from interactvlm.errors import CheckpointError, InputError
from interactvlm.retrieval.rows import TableRow, row_at
from interactvlm.retrieval.segments import Segment, open_segment, sync_folder

__all__ = ["Layout", "Part", "Snapshot", "clean", "open_snapshot", "publish", "write_removed", "writer_lock"]

_FORMAT = 1
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the pieces of a table lie.

    Attributes:
        folder: the table.
    """

    folder: Path

    @property
    def segments(self) -> Path:
        """Folder of the segments."""
        return self.folder / "segments"

    @property
    def removed(self) -> Path:
        """Folder of the lists of removed rows."""
        return self.folder / "removed"

    @property
    def snapshots(self) -> Path:
        """Folder of the versions."""
        return self.folder / "snapshots"

    def create(self) -> None:
        """Make the folders."""
        for folder in (self.segments, self.removed, self.snapshots):
            folder.mkdir(parents=True, exist_ok=True)

    def versions(self) -> list[int]:
        """Published versions, oldest first."""
        names = self.snapshots.glob("*.json") if self.snapshots.is_dir() else ()
        return sorted(int(path.stem) for path in names if path.stem.isdigit())

    def snapshot_file(self, version: int) -> Path:
        """File of one version."""
        return self.snapshots / f"{version:012d}.json"


@dataclass(frozen=True, slots=True)
class Part:
    """One segment's share of a snapshot.

    Attributes:
        segment: its name.
        removed: name of its list of removed rows; "" when all are there.
    """

    segment: str
    removed: str = ""


class Snapshot:
    """One version of the table, open for reading; close it (or use `with`) so that its files may be cleaned away.

    Attributes:
        version: its number; 0 is the empty table before the first.
        parts: as stored.
        segments: open, in the order of `parts`.
        removed: int64, sorted row numbers that are gone, by segment.
    """

    def __init__(self, version: int, parts: tuple[Part, ...], layout: Layout, handle: IO[bytes] | None) -> None:
        self.version = version
        self.parts = parts
        self.segments: tuple[Segment, ...] = tuple(open_segment(layout.segments, part.segment) for part in parts)
        self.removed = tuple(
            _read_removed(layout, part, len(seg)) for part, seg in zip(parts, self.segments, strict=True)
        )
        self._handle = handle

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return sum(map(len, self.segments)) - sum(map(len, self.removed))

    @property
    def dimension(self) -> int | None:
        """Channels; None while the table is empty."""
        return self.segments[0].dimension if self.segments else None

    def rows(self) -> Iterator[TableRow]:
        """Every row, in the order it was added."""
        for segment, gone in zip(self.segments, self.removed, strict=True):
            kept = np.delete(np.arange(len(segment)), gone)
            for start in range(0, len(kept), _ROWS_AT_ONCE):
                for row in segment.rows.take(pa.array(kept[start : start + _ROWS_AT_ONCE])).to_pylist():
                    yield TableRow(**row)

    def find(self, row_id: str) -> TableRow | None:
        """The row of that id."""
        for segment, gone in zip(self.segments, self.removed, strict=True):
            found = np.flatnonzero(pc.equal(segment.rows.column("id"), row_id).to_numpy())
            for index in np.setdiff1d(found, gone):
                return row_at(segment.rows, int(index))
        return None

    def close(self) -> None:
        """Let go of the files."""
        if self._handle is not None:
            self._handle.close()  # and with it the shared lock
            self._handle = None


def open_snapshot(layout: Layout, version: int | None = None) -> Snapshot:
    """The current version, or the one named.

    Raises:
        InputError: there is no such version (any more).
        CheckpointError: a file of it is damaged.
    """
    while True:
        versions = layout.versions()
        if version is None and not versions:
            return Snapshot(0, (), layout, None)
        wanted = versions[-1] if version is None else version
        try:
            handle = layout.snapshot_file(wanted).open("rb")
        except FileNotFoundError:
            if version is None:
                continue  # cleaned between listing and opening: a newer one is there
            raise InputError("version", f"is {version}; the table has {versions}") from None
        fcntl.flock(handle, fcntl.LOCK_SH)
        try:
            if os.fstat(handle.fileno()).st_nlink == 0:  # cleaned between opening and locking
                handle.close()
                continue
            return Snapshot(wanted, _parse(handle.read(), layout.snapshot_file(wanted)), layout, handle)
        except BaseException:
            handle.close()
            raise


@contextmanager
def writer_lock(layout: Layout) -> Iterator[None]:
    """Be the one writer; waits for another to finish."""
    layout.create()
    with (layout.folder / "lock").open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def publish(layout: Layout, version: int, parts: tuple[Part, ...]) -> None:
    """Make a version current, at once and durably; its segments and lists are on disk already."""
    body = {
        "format": _FORMAT,
        "version": version,
        "parts": [{"segment": part.segment, "removed": part.removed} for part in parts],
    }
    draft = layout.snapshots / f".{uuid.uuid4().hex}"
    try:
        with draft.open("wb") as stream:
            stream.write(json.dumps(body).encode())
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, layout.snapshot_file(version))  # fails, rather than replaces, if it exists
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(layout.snapshots)


def write_removed(layout: Layout, rows: NDArray[np.int64]) -> str:
    """Store a list of removed rows durably; returns its name ("" for none)."""
    if not len(rows):
        return ""
    name = uuid.uuid4().hex
    draft = layout.removed / f".{name}"
    with draft.open("wb") as stream:
        np.save(stream, rows, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(layout.removed / f"{name}.npy")
    sync_folder(layout.removed)
    return name


def clean(layout: Layout, *, keep: int) -> int:
    """Delete old versions that nobody reads and what only they (or crashed writers) used; call as the writer.

    Args:
        layout: the table.
        keep: versions to keep besides those in use; at least 1.

    Returns:
        Versions deleted.
    """
    gone = 0
    for version in layout.versions()[: -max(keep, 1)]:
        path = layout.snapshot_file(version)
        with path.open("rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # a reader holds it
            path.unlink()
            gone += 1
    used = [_parse(path.read_bytes(), path) for path in map(layout.snapshot_file, layout.versions())]
    segments = {part.segment for parts in used for part in parts}
    lists = {f"{part.removed}.npy" for parts in used for part in parts if part.removed}
    for folder, wanted in ((layout.segments, segments), (layout.removed, lists)):
        for entry in folder.iterdir():
            if entry.name not in wanted:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for draft in layout.snapshots.glob(".*"):
        draft.unlink()
    return gone


def _parse(text: bytes, path: Path) -> tuple[Part, ...]:
    try:
        body: dict[str, Any] = json.loads(text)
        if body["format"] != _FORMAT:
            raise CheckpointError(path, f"has format {body['format']!r}, this version reads {_FORMAT}")
        return tuple(Part(str(part["segment"]), str(part["removed"])) for part in body["parts"])
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(path, "is no snapshot of a retrieval table") from None


def _read_removed(layout: Layout, part: Part, rows: int) -> NDArray[np.int64]:
    if not part.removed:
        return np.zeros(0, np.int64)
    path = layout.removed / f"{part.removed}.npy"
    try:
        found: NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise CheckpointError(path, "is damaged and must be restored") from None
    if found.dtype != np.int64 or found.ndim != 1 or (len(found) and not 0 <= found[0] <= found[-1] < rows):
        raise CheckpointError(path, f"holds rows outside its segment's {rows}")
    return found
