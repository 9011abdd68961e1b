"""The table of embeddings on disk: add, replace, remove, compact; every change is a new snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.retrieval.rows import TableRow, table_of_rows
from interactvlm.retrieval.segments import open_segment, stored_blocks, unit_blocks, write_segment
from interactvlm.retrieval.snapshots import (
    Layout,
    Part,
    Snapshot,
    clean,
    open_snapshot,
    publish,
    write_removed,
    writer_lock,
)

__all__ = ["VectorTable"]

#: Versions kept for readers that ask for one by number.
_KEPT = 2


class VectorTable:
    """Embeddings of meshes with their rows, in a folder of its own (see `snapshots` for its layout).

    Any number of processes may read and write at the same time: writers take turns, readers keep the snapshot they
    opened. A process killed at any moment leaves the version before or after its change.

    Args:
        folder: made by the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._layout = Layout(folder)

    @property
    def version(self) -> int:
        """The current version; 0 before the first write."""
        versions = self._layout.versions()
        return versions[-1] if versions else 0

    def open(self, version: int | None = None) -> Snapshot:
        """The current snapshot, or the one named; see `open_snapshot` for errors."""
        return open_snapshot(self._layout, version)

    def add(self, rows: Sequence[TableRow] | pa.Table, vectors: NDArray[np.floating[Any]]) -> int:
        """Add rows; those whose id is in the table already take the place of the old ones.

        Args:
            rows: what the vectors belong to; or a table in ROW_SCHEMA.
            vectors: [N, D], of any length but 0; D as in the table.

        Returns:
            The new version.

        Raises:
            InputError: rows or vectors are malformed or of another dimension; the table is as before.
        """
        table = rows if isinstance(rows, pa.Table) else table_of_rows(rows)
        with writer_lock(self._layout), self.open() as current:
            if vectors.ndim != 2 or len(vectors) != table.num_rows or not len(vectors):
                raise InputError("vectors", f"have shape {vectors.shape} for {table.num_rows} rows; [N, D] is needed")
            if current.dimension is not None and vectors.shape[1:] != (current.dimension,):
                raise InputError(
                    "vectors", f"have shape {vectors.shape}; the table's have {current.dimension} channels"
                )
            name = write_segment(self._layout.segments, table, unit_blocks(vectors))
            parts = self._without(current, table.column("id"))
            return self._publish(current, (*parts, Part(name)))

    def remove(self, ids: Iterable[str]) -> int:
        """Remove rows; ids that are not in the table are none of its business.

        Returns:
            The new version, or the current one when there was nothing to remove.
        """
        with writer_lock(self._layout), self.open() as current:
            parts = self._without(current, pa.array(sorted(set(ids)), pa.string()))
            return current.version if parts == current.parts else self._publish(current, parts)

    def compact(self) -> int:
        """Merge all segments into one without the removed rows, so that searches need not step over them.

        Returns:
            The new version, or the current one when there is nothing to gain.
        """
        with writer_lock(self._layout), self.open() as current:
            if len(current.parts) <= 1 and not any(part.removed for part in current.parts):
                return current.version
            if not len(current):
                return self._publish(current, ())
            kept = [
                np.delete(np.arange(len(segment)), gone)
                for segment, gone in zip(current.segments, current.removed, strict=True)
            ]
            pieces = list(zip(current.segments, kept, strict=True))
            rows = pa.concat_tables([segment.rows.take(pa.array(numbers)) for segment, numbers in pieces])
            blocks = chain.from_iterable(stored_blocks(segment, numbers) for segment, numbers in pieces)
            name = write_segment(self._layout.segments, rows, blocks)
            return self._publish(current, (Part(name),))

    def _without(self, current: Snapshot, ids: pa.Array | pa.ChunkedArray) -> tuple[Part, ...]:
        parts = []
        for part, segment, gone in zip(current.parts, current.segments, current.removed, strict=True):
            found = np.flatnonzero(pc.is_in(segment.rows.column("id"), value_set=ids).to_numpy())
            merged = np.union1d(gone, found).astype(np.int64)
            if len(merged) == len(segment):
                continue  # nothing of it is left
            same = len(merged) == len(gone)
            parts.append(part if same else Part(part.segment, write_removed(self._layout, merged)))
        return tuple(parts)

    def _publish(self, current: Snapshot, parts: tuple[Part, ...]) -> int:
        version = current.version + 1
        for part in parts:  # never make current what cannot be read
            open_segment(self._layout.segments, part.segment)
        publish(self._layout, version, parts)
        clean(self._layout, keep=_KEPT)
        return version
