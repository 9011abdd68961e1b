"""Rows for `interactvlm catalogue list` and `show`: the packaged ones, those of a table, or what a server knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from interactvlm.errors import InputError
from interactvlm.retrieval.glb import load_shown_mesh
from interactvlm.retrieval.thumbnails import thumbnail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from interactvlm.client import Client, Endpoint
    from interactvlm.geometry.mesh import Mesh
    from interactvlm.retrieval.snapshots import Snapshot

__all__ = ["RowSource", "open_rows", "opened_table", "picture"]


class RowSource(Protocol):
    """Somewhere that rows come from; a row is what is printed."""

    title: str

    def rows(self, category: str, limit: int) -> list[dict[str, Any]]:
        """At most `limit` rows of a category in any spelling; "" for all."""
        ...

    def find(self, row_id: str) -> dict[str, Any] | None:
        """The row of that id."""
        ...

    def mesh(self, row: dict[str, Any]) -> Mesh:
        """Its mesh, in colours to be shown; InputError where it cannot be had."""
        ...


@contextmanager
def open_rows(table: Path | None, endpoint: Endpoint | None) -> Iterator[RowSource]:
    """The source that the options name.

    Raises:
        InputError: the folder holds no table.
    """
    if endpoint is not None:
        from interactvlm.client import Client

        with Client(endpoint) as client:
            yield _ServerRows(client, endpoint.target)
    elif table is not None:
        with opened_table(table) as snapshot:
            yield _TableRows(snapshot, table)
    else:
        yield _PackagedRows()


def opened_table(table: Path) -> Snapshot:
    """The table's current snapshot.

    Raises:
        InputError: the folder holds none.
    """
    from interactvlm.retrieval.vector_table import VectorTable

    if not (table / "snapshots").is_dir():
        raise InputError("--table", f"{table} is no table; `catalogue add` or `catalogue import` makes one")
    return VectorTable(table).open()


def picture(source: RowSource, row: dict[str, Any], side: int) -> NDArray[np.uint8] | None:
    """A row's thumbnail; None where it has no mesh, or one that cannot be read."""
    try:
        return thumbnail(source.mesh(row), side) if row["mesh_sha256"] else None
    except InputError:
        return None


class _PackagedRows:
    title = "packaged catalogue"

    def rows(self, category: str, limit: int) -> list[dict[str, Any]]:
        wanted = _wanted(category)
        return [row for row in _packaged() if wanted(row)][:limit]

    def find(self, row_id: str) -> dict[str, Any] | None:
        return next((row for row in _packaged() if row["id"] == row_id), None)

    def mesh(self, row: dict[str, Any]) -> Mesh:
        from interactvlm.retrieval.catalogue_objects import mesh_content

        return load_shown_mesh(mesh_content(f"catalogue/{row['id']}"), file_type="glb")


class _TableRows:
    def __init__(self, snapshot: Snapshot, table: Path) -> None:
        self._snapshot = snapshot
        self._table = table
        self.title = str(table)

    def rows(self, category: str, limit: int) -> list[dict[str, Any]]:
        wanted, found = _wanted(category), []
        for row in map(asdict, self._snapshot.rows()):
            if wanted(row):
                found.append(row)
                if len(found) == limit:
                    break
        return found

    def find(self, row_id: str) -> dict[str, Any] | None:
        row = self._snapshot.find(row_id)
        return asdict(row) if row else None

    def mesh(self, row: dict[str, Any]) -> Mesh:
        from interactvlm.retrieval.mesh_store import MeshStore

        file = MeshStore(self._table).find(row["mesh_sha256"])
        return load_shown_mesh(file, file_type=file.suffix.removeprefix("."))


class _ServerRows:
    def __init__(self, client: Client, title: str) -> None:
        self._client = client
        self.title = title

    def rows(self, category: str, limit: int) -> list[dict[str, Any]]:
        return [asdict(row) for row in self._client.list_meshes(category=category, limit=limit)]

    def find(self, row_id: str) -> dict[str, Any] | None:
        return next((asdict(row) for row in self._client.list_meshes(mesh_id=row_id, limit=1)), None)

    def mesh(self, row: dict[str, Any]) -> Mesh:
        return load_shown_mesh(self._client.download_mesh(row["mesh_sha256"]), file_type="glb")


def _wanted(category: str) -> Callable[[dict[str, Any]], bool]:
    if not category:
        return lambda row: True
    from interactvlm.retrieval.names import table_category

    name = table_category(category)
    return lambda row: bool(row["category"] == name)


def _packaged() -> list[dict[str, Any]]:
    from interactvlm.objects.catalogue import load_catalogue

    return [
        {
            "id": entry.id,
            "category": entry.category,
            "name": entry.name,
            "licence": entry.licence,
            "faces": entry.faces,
            "extent_metres": max(entry.size_m),
            "mesh_sha256": entry.sha256,
            "author": entry.author,
            "source": entry.source,
        }
        for entry in load_catalogue()
    ]
