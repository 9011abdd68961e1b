"""RetrievalAdminService on the wire: meshes put together from pieces, tables changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from interactvlm.errors import DeadlineExceededError, InputError, MeshError
from interactvlm.geometry.load import DEFAULT_LIMITS, MESH_TYPES
from interactvlm.retrieval.rows import MAX_TEXT
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.v1 import retrieval_service_pb2_grpc
from services.retrieval.changes import NewMesh, TableChanges
from services.retrieval.engine import RetrievalEngine
from services.runtime.calls import current_call
from services.runtime.errors import QueueFull

__all__ = ["RetrievalAdminService"]

_MAX_CHUNK = 2**20
_MAX_UPLOADS = 8
_UPLOAD_SECONDS = 120.0
_MAX_IDS = 10_000


class RetrievalAdminService(retrieval_service_pb2_grpc.RetrievalAdminServiceServicer):
    """The service as the chassis runs it; its scope is "retrievaladmin".

    Args:
        engine: RetrievalService's, which loads and closes it.
        max_owner_meshes: rows of an owner's own table.
    """

    name = pb.DESCRIPTOR.services_by_name["RetrievalAdminService"].full_name

    def __init__(self, engine: RetrievalEngine, *, max_owner_meshes: int) -> None:
        self._changes = TableChanges(engine, max_owner_meshes=max_owner_meshes)
        self._arriving = 0

    def register(self, server: grpc.aio.Server) -> None:
        """See `Service`."""
        retrieval_service_pb2_grpc.add_RetrievalAdminServiceServicer_to_server(self, server)

    async def load(self) -> None:
        """Nothing to load: the engine is RetrievalService's."""

    async def close(self) -> None:
        """Nothing to let go."""

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """None of its own; see RetrievalService."""
        raise InputError("command", f"{command!r} is unknown; RetrievalAdminService has none")

    async def AddMesh(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.AddMeshRequest], context: Any
    ) -> pb.AddMeshResponse:
        """Add a mesh."""
        if self._arriving >= _MAX_UPLOADS:
            raise QueueFull(f"{self._arriving} meshes are being added; that is the limit", retry_after=1.0)
        self._arriving += 1
        try:
            async with asyncio.timeout(_UPLOAD_SECONDS) as limit:
                entry, content = await _arrived(request_iterator)
            mesh = NewMesh(content, entry.file_type, entry.name, entry.category, entry.licence, entry.metric)
            row_id, version = await self._changes.add(mesh, shared=entry.shared, call=current_call())
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceededError(f"the upload took longer than {_UPLOAD_SECONDS:.0f} s") from None
        finally:
            self._arriving -= 1
        return pb.AddMeshResponse(id=row_id, index_version=version)

    async def RemoveMeshes(  # noqa: N802
        self, request: pb.RemoveMeshesRequest, context: Any
    ) -> pb.RemoveMeshesResponse:
        """Remove rows."""
        if not 1 <= len(request.ids) <= _MAX_IDS:
            raise InputError("ids", f"are {len(request.ids)}; there must be 1 to {_MAX_IDS}")
        count, version = await self._changes.remove(list(request.ids), shared=request.shared, call=current_call())
        return pb.RemoveMeshesResponse(removed_count=count, index_version=version)

    async def CreateSnapshot(  # noqa: N802
        self, request: pb.CreateSnapshotRequest, context: Any
    ) -> pb.CreateSnapshotResponse:
        """Merge what was added and removed."""
        version, rows = await self._changes.snapshot(shared=request.shared, call=current_call())
        return pb.CreateSnapshotResponse(index_version=version, row_count=rows)


async def _arrived(requests: AsyncIterator[pb.AddMeshRequest]) -> tuple[pb.MeshEntry, bytes]:
    entry: pb.MeshEntry | None = None
    content = bytearray()
    async for request in requests:
        if entry is None:
            entry = request.entry
            _check_entry(entry)
        elif request.HasField("entry"):
            raise InputError("entry", "stands in a later message; it belongs in the first one only")
        if len(request.chunk) > _MAX_CHUNK:
            raise MeshError("chunk", f"has {len(request.chunk)} bytes; the limit is {_MAX_CHUNK}")
        content += request.chunk
        if len(content) > DEFAULT_LIMITS.max_bytes:
            raise MeshError("chunk", f"makes the file larger than the limit of {DEFAULT_LIMITS.max_bytes} bytes")
    if entry is None:
        raise MeshError("chunk", "is missing: the stream held no message")
    return entry, bytes(content)


def _check_entry(entry: pb.MeshEntry) -> None:
    if entry.file_type not in MESH_TYPES:
        raise MeshError("entry.file_type", f"is {entry.file_type[:16]!r}; known: {', '.join(MESH_TYPES)}")
    for field in ("name", "category", "licence"):
        text = getattr(entry, field)
        if len(text) > MAX_TEXT or not all(map(str.isprintable, text)):
            raise InputError(
                f"entry.{field}", f"has {len(text)} characters; at most {MAX_TEXT}, none of them a control character"
            )
