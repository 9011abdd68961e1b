"""MESH_MISSING answered: the replica that lacks a mesh gets it once, whoever asks, and the call is made again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.stages import CallContext
from interactvlm.v1 import mvloc_service_pb2_grpc
from interactvlm.wire import encode_surface
from services.orchestrator.replica import Replica
from services.runtime.calls import maybe_current_call
from services.runtime.errors import MeshMissing, ServiceError
from services.runtime.status import from_rpc_error

__all__ = ["MeshPushes"]

T = TypeVar("T")
_PUSH_SECONDS = 30.0


class MeshPushes:
    """Pushes under way, by replica, owner and mesh: a stage holds meshes per owner, too."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str, str], asyncio.Task[None]] = {}

    async def pushing(
        self, replica: Replica, surface: Mesh | PointCloud, call: Callable[[], Awaitable[T]], context: CallContext
    ) -> T:
        """Make `call`; if the replica lacks the mesh, push it and make the call once more."""
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if not _mesh_missing(error):
                raise
        await self._push(replica, surface)
        context.check()
        return await call()

    async def _push(self, replica: Replica, surface: Mesh | PointCloud) -> None:
        call = maybe_current_call()
        key = (replica.address, call.owner if call else "", surface.content_hash)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(_put(replica, surface))
            task.add_done_callback(lambda done: self._forget(key, done))
        await asyncio.shield(task)  # one caller's cancellation leaves the others their push

    def _forget(self, key: tuple[str, str, str], done: asyncio.Task[None]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # told to whoever waits; nobody may be left


async def _put(replica: Replica, surface: Mesh | PointCloud) -> None:
    request = await asyncio.to_thread(encode_surface, surface)
    await replica.stub(mvloc_service_pb2_grpc.MvlocServiceStub).PutMesh(request, timeout=_PUSH_SECONDS)


def _mesh_missing(error: grpc.aio.AioRpcError) -> bool:
    if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
        return False
    raised = from_rpc_error(error)
    return isinstance(raised, ServiceError) and raised.reason == MeshMissing.reason
