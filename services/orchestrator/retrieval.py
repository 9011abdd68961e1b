"""RetrievalService as the public API has it: calls passed on to the retrieval stage, with deadline, owner and balance.

A search is one call like any other (retries, hedges). A download may move to another replica until its first piece is
here; what comes after it belongs to that replica.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from interactvlm.errors import InputError
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.v1 import retrieval_service_pb2_grpc
from interactvlm.v1.retrieval_service_pb2_grpc import RetrievalServiceStub
from interactvlm.wire import decode_sha256
from services.orchestrator.calling import StageCaller
from services.orchestrator.config import OrchestratorConfig
from services.orchestrator.replica import Replica
from services.orchestrator.service import make_pool, replica_states
from services.runtime.calls import current_call
from services.runtime.errors import ServiceError, Unimplemented
from services.runtime.status import from_rpc_error

__all__ = ["RetrievalService"]

_Stream = Any  # grpc.aio.UnaryStreamCall, whose read() is typed as if it never ended


class RetrievalService(retrieval_service_pb2_grpc.RetrievalServiceServicer):
    """Passes on; see `services.runtime.server.Service`.

    Args:
        config: of the orchestrator; without targets of a retrieval stage every call is answered UNIMPLEMENTED.

    Raises:
        InputError: a target is malformed.
    """

    name = pb.DESCRIPTOR.services_by_name["RetrievalService"].full_name

    def __init__(self, config: OrchestratorConfig) -> None:
        self._stage = (
            StageCaller(make_pool("retrieval", "RetrievalService", config.retrieval, config), config.balancing)
            if config.retrieval.targets
            else None
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicer."""
        retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(self, server)

    async def load(self) -> None:
        """Find the stage; contact is not kept waiting for it."""
        if self._stage is not None:
            await self._stage.pool.start()

    async def close(self) -> None:
        """Let go of the stage."""
        if self._stage is not None:
            await self._stage.pool.close()

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """`replicas`: those of the stage as they are seen from here."""
        if command != "replicas":
            raise InputError("command", f"{command!r} is not known; known: replicas")
        return {} if self._stage is None else replica_states([self._stage.pool])

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:  # noqa: N802
        """The nearest meshes."""
        call = current_call()

        async def attempt(replica: Replica) -> pb.SearchResponse:
            return await replica.stub(RetrievalServiceStub).Search(request, timeout=call.context.remaining())

        return await self._served("Search").call(attempt, method="Search", context=call.context)

    async def ListMeshes(self, request: pb.ListMeshesRequest, context: Any) -> pb.ListMeshesResponse:  # noqa: N802
        """What there is to find, page by page."""
        call = current_call()

        async def attempt(replica: Replica) -> pb.ListMeshesResponse:
            return await replica.stub(RetrievalServiceStub).ListMeshes(request, timeout=call.context.remaining())

        return await self._served("ListMeshes").call(attempt, method="ListMeshes", context=call.context)

    async def DownloadMesh(  # noqa: N802
        self, request: pb.DownloadMeshRequest, context: Any
    ) -> AsyncIterator[pb.DownloadMeshResponse]:
        """A catalogue mesh as GLB."""
        decode_sha256(request.mesh_sha256, field="mesh_sha256")
        call = current_call()

        async def attempt(replica: Replica) -> tuple[_Stream, pb.DownloadMeshResponse]:
            stub = replica.stub(RetrievalServiceStub)
            stream: _Stream = stub.DownloadMesh(request, timeout=call.context.remaining())
            try:
                first = await stream.read()
                if first is grpc.aio.EOF:
                    raise ServiceError("the retrieval stage sent an empty mesh")
            except BaseException:
                stream.cancel()
                raise
            return stream, first

        message: Any  # or EOF
        stream, message = await self._served("DownloadMesh").call(
            attempt, method="DownloadMesh", context=call.context, key=request.mesh_sha256
        )
        try:
            while message is not grpc.aio.EOF:
                yield message
                message = await stream.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            stream.cancel()

    def _served(self, method: str) -> StageCaller:
        if self._stage is None:
            raise Unimplemented(f"{method}: this server runs without a retrieval stage")
        return self._stage
