"""RetrievalService on the wire: messages decoded, the engine asked, hits encoded, meshes cut into pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from interactvlm.errors import InputError
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.v1 import retrieval_service_pb2_grpc
from interactvlm.wire import decode_sha256
from services.retrieval.engine import RetrievalEngine
from services.retrieval.listing import decode_list, encode_page
from services.retrieval.messages import decode_search, encode_answer
from services.runtime.calls import current_call

__all__ = ["RetrievalService"]

_CHUNK = 2**20


class RetrievalService(retrieval_service_pb2_grpc.RetrievalServiceServicer):
    """The service as the chassis runs it.

    Args:
        engine: loaded and closed by this service; shared with RetrievalAdminService.
    """

    name = pb.DESCRIPTOR.services_by_name["RetrievalService"].full_name

    def __init__(self, engine: RetrievalEngine) -> None:
        self.engine = engine

    def register(self, server: grpc.aio.Server) -> None:
        """See `Service`."""
        retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(self, server)

    async def load(self) -> None:
        """See `Service`."""
        await self.engine.load()

    async def close(self) -> None:
        """See `Service`."""
        await self.engine.close()

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Service`; the commands stand in README.md."""
        result = await self.engine.admin(command, arguments)
        if result is None:
            raise InputError("command", f"{command!r} is unknown; known: table, reload")
        return result

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:  # noqa: N802
        """The nearest meshes."""
        wanted = decode_search(request)
        found = await self.engine.search(wanted, call=current_call())
        return encode_answer(found.answer, version=found.version, distant=wanted.distant)

    async def ListMeshes(self, request: pb.ListMeshesRequest, context: Any) -> pb.ListMeshesResponse:  # noqa: N802
        """What the caller may find, page by page."""
        return encode_page(await self.engine.list_rows(decode_list(request), call=current_call()))

    async def DownloadMesh(  # noqa: N802
        self, request: pb.DownloadMeshRequest, context: Any
    ) -> AsyncIterator[pb.DownloadMeshResponse]:
        """A mesh that the caller may find, as GLB."""
        sha256 = decode_sha256(request.mesh_sha256, field="mesh_sha256")
        async with self.engine.mesh(sha256, call=current_call()) as content:
            for start in range(0, len(content), _CHUNK):
                yield pb.DownloadMeshResponse(
                    chunk=content[start : start + _CHUNK], total_bytes=0 if start else len(content)
                )
