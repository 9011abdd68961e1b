"""RetrievalService on the chassis; its engine is not part of this version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from interactvlm.errors import InputError
from interactvlm.v1 import retrieval_service_pb2, retrieval_service_pb2_grpc
from services.runtime.errors import Unimplemented

__all__ = ["RetrievalService"]

_REASON = "this version has no catalogue of meshes; name the object's own mesh (ContactService.UploadMesh)"


class RetrievalService(retrieval_service_pb2_grpc.RetrievalServiceServicer):
    """Answers UNIMPLEMENTED, and says what to do meanwhile."""

    name = "interactvlm.v1.RetrievalService"

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicer."""
        retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(self, server)

    async def load(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go."""

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """There are no commands."""
        raise InputError("command", f"{command!r} is not known; RetrievalService has none")

    async def Search(  # noqa: N802
        self, request: retrieval_service_pb2.SearchRequest, context: Any
    ) -> retrieval_service_pb2.SearchResponse:
        """The nearest meshes."""
        raise Unimplemented(f"Search: {_REASON}")

    def DownloadMesh(  # noqa: N802
        self, request: retrieval_service_pb2.DownloadMeshRequest, context: Any
    ) -> AsyncIterator[retrieval_service_pb2.DownloadMeshResponse]:
        """A catalogue mesh as GLB."""
        raise Unimplemented(f"DownloadMesh: {_REASON}")
