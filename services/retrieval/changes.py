"""Changing tables: a caller's own or, with the right to it, the one that everybody finds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from interactvlm.retrieval.additions import describe_mesh
from interactvlm.retrieval.clouds import ColouredCloud
from interactvlm.retrieval.mesh_store import MeshStore
from interactvlm.retrieval.removals import remove_meshes
from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.vector_table import VectorTable
from services.retrieval.engine import RetrievalEngine
from services.runtime.calls import Call
from services.runtime.errors import CatalogueReadOnly, QuotaExceeded
from services.runtime.tokens import require_scope

__all__ = ["SHARED_SCOPE", "NewMesh", "TableChanges"]

#: What a token needs to change what everybody finds.
SHARED_SCOPE = "catalogue"


@dataclass(frozen=True, slots=True)
class NewMesh:
    """A mesh to add.

    Attributes:
        content: its file.
        file_type: "glb", "ply" or "obj".
        name: what people call it.
        category: in any spelling.
        licence: an SPDX identifier.
        metric: its unit is the metre.
    """

    content: bytes
    file_type: str
    name: str
    category: str
    licence: str
    metric: bool


class TableChanges:
    """Adds and removes on behalf of callers.

    Args:
        engine: searches the tables.
        max_owner_meshes: rows of an owner's own table.
    """

    def __init__(self, engine: RetrievalEngine, *, max_owner_meshes: int) -> None:
        self._engine = engine
        self._max_owner_meshes = max_owner_meshes
        self._writing = asyncio.Lock()

    async def add(self, mesh: NewMesh, *, shared: bool, call: Call) -> tuple[str, str]:
        """Add a mesh, embedded by its shape.

        Returns:
            Its row's id, and the version of the table that holds it.

        Raises:
            MeshError, InputError: the mesh is not usable, or a text is too long.
            PermissionDenied, CatalogueReadOnly: this caller, or this server, cannot add.
            QuotaExceeded: the owner has as many as it may have.
        """
        folder = self._folder(call, shared=shared)
        embed = self._engine.embed_shapes
        if embed is None:
            raise CatalogueReadOnly("table: this server has no shape encoder, so nothing can be added")

        def describe() -> tuple[TableRow, ColouredCloud]:
            call.context.check()
            return describe_mesh(
                mesh.content,
                file_type=mesh.file_type,
                name=mesh.name,
                category=mesh.category,
                licence=mesh.licence,
                metres=mesh.metric,
            )

        row, cloud = await self._engine.decode(describe)
        vectors = await self._engine.worker.run(partial(embed, [cloud]), call.context)

        def write() -> None:
            index = VectorTable(folder)
            if not shared:
                self._check_room(index, row.id)
            MeshStore(folder).put(mesh.content, file_type=mesh.file_type)
            index.add([row], vectors)

        async with self._writing:
            await asyncio.to_thread(write)
        return row.id, await self._published(call, shared=shared)

    async def remove(self, ids: list[str], *, shared: bool, call: Call) -> tuple[int, str]:
        """Remove rows.

        Returns:
            How many were there, and the version of the table without them.

        Raises:
            PermissionDenied, CatalogueReadOnly: this caller, or this server, cannot remove.
        """
        folder = self._folder(call, shared=shared)
        async with self._writing:
            removed = await asyncio.to_thread(remove_meshes, folder, ids) if folder.is_dir() else None
        return len(removed.ids) if removed else 0, await self._published(call, shared=shared)

    async def snapshot(self, *, shared: bool, call: Call) -> tuple[str, int]:
        """Merge what was added and removed.

        Returns:
            The table's version, and its rows.

        Raises:
            PermissionDenied, CatalogueReadOnly: this caller, or this server, cannot.
        """
        folder = self._folder(call, shared=shared)
        if folder.is_dir():
            async with self._writing:
                await asyncio.to_thread(VectorTable(folder).compact)
        version = await self._published(call, shared=shared)
        async with self._engine.tables_of(call.owner) as tables:
            return version, sum(map(len, tables[:1] if shared else tables[1:]))

    def _folder(self, call: Call, *, shared: bool) -> Path:
        if shared:
            require_scope(call.scopes, SHARED_SCOPE)
        return self._engine.tables.folder(call.owner, shared=shared)

    def _check_room(self, index: VectorTable, row_id: str) -> None:
        with index.open() as snapshot:
            if len(snapshot) >= self._max_owner_meshes and snapshot.find(row_id) is None:
                raise QuotaExceeded(
                    f"meshes: {len(snapshot)} are kept for this owner; the limit is {self._max_owner_meshes}",
                    metadata={"limit": "owner_meshes"},
                )

    async def _published(self, call: Call, *, shared: bool) -> str:
        """Search the change from now on; the version of the changed table, "" where the owner has none."""
        await self._engine.refresh()
        async with self._engine.tables_of(call.owner) as tables:
            return "".join(table.version for table in (tables[:1] if shared else tables[1:]))
