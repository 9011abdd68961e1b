"""Meshes out of a table: their rows, and their files with the last row that refers to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from interactvlm.retrieval.mesh_store import MeshStore
from interactvlm.retrieval.snapshots import Snapshot
from interactvlm.retrieval.vector_table import VectorTable

__all__ = ["Removed", "remove_meshes"]


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed.

    Attributes:
        ids: of the rows that were there.
        version: of the table.
    """

    ids: tuple[str, ...]
    version: int


def remove_meshes(table: Path, ids: Iterable[str]) -> Removed:
    """Remove rows and erase the mesh files that no other row refers to.

    Searches under way keep the snapshot they opened, but its erased meshes cannot be fetched any more. Killed in
    between, a file may stay that no row refers to; removing the same ids again does not find it.

    Args:
        table: its folder.
        ids: those that are not in the table are passed over.
    """
    index = VectorTable(table)
    with index.open() as before:
        found = list(_matching(before, "id", ids))
    version = index.remove(row_id for row_id, _ in found) if found else index.version
    meshes = {digest for _, digest in found if digest}
    with index.open() as after:
        meshes -= {digest for _, digest in _matching(after, "mesh_sha256", meshes)}
    store = MeshStore(table)
    for digest in meshes:
        store.remove(digest)
    return Removed(tuple(row_id for row_id, _ in found), version)


def _matching(snapshot: Snapshot, column: str, wanted: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(id, mesh_sha256) of the rows whose column holds one of the values."""
    values = pa.array(sorted(set(wanted)), pa.string())
    for segment, gone in zip(snapshot.segments, snapshot.removed, strict=True):
        numbers = np.flatnonzero(pc.is_in(segment.rows.column(column), value_set=values).to_numpy())
        rows = segment.rows.take(pa.array(np.setdiff1d(numbers, gone)))
        yield from zip(rows.column("id").to_pylist(), rows.column("mesh_sha256").to_pylist(), strict=True)
