"""ContactService: the public API, message by message; the work is done elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.metadata import version
from typing import Any

from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.photo import PhotoLimits
from interactvlm.v1 import contact_service_pb2, contact_service_pb2_grpc, types_pb2
from interactvlm.wire import decode_sha256, encode_body
from services.orchestrator.mesh_store import MeshStore
from services.orchestrator.models import ModelDirectory
from services.orchestrator.prediction import Predictor
from services.orchestrator.streaming import PredictionStream
from services.orchestrator.uploads import MeshReader
from services.runtime.calls import current_call
from services.runtime.errors import NotFound, Unimplemented

__all__ = ["MAX_IN_FLIGHT_KEY", "ContactServicer"]

#: Initial metadata of PredictStream: items the server keeps in work at once.
MAX_IN_FLIGHT_KEY = "interactvlm-max-in-flight"


class ContactServicer(contact_service_pb2_grpc.ContactServiceServicer):
    """The methods of ContactService.

    Args:
        predictor: answers about photos.
        meshes: the callers' meshes.
        reader: parses uploads.
        models: what is live.
        max_in_flight: items of one stream in work at once.
        item_seconds: time one item of a stream may take.
        max_wait_seconds: how long an item waits for a stage that is full.
    """

    def __init__(
        self,
        *,
        predictor: Predictor,
        meshes: MeshStore,
        reader: MeshReader,
        models: ModelDirectory,
        max_in_flight: int,
        item_seconds: float,
        max_wait_seconds: float,
    ) -> None:
        self._predictor = predictor
        self._meshes = meshes
        self._reader = reader
        self._models = models
        self._max_in_flight = max_in_flight
        self._item_seconds = item_seconds
        self._max_wait_seconds = max_wait_seconds

    async def Predict(  # noqa: N802
        self, request: contact_service_pb2.PredictRequest, context: Any
    ) -> contact_service_pb2.PredictResponse:
        """Contacts of one person in one photo."""
        call = current_call()
        return await self._predictor.predict(request, owner=call.owner, context=call.context)

    async def PredictStream(  # noqa: N802
        self, request_iterator: AsyncIterator[contact_service_pb2.PredictStreamRequest], context: Any
    ) -> AsyncIterator[contact_service_pb2.PredictStreamResponse]:
        """Many photos over one stream."""
        await context.send_initial_metadata(((MAX_IN_FLIGHT_KEY, str(self._max_in_flight)),))
        stream = PredictionStream(
            self._predictor,
            current_call(),
            max_in_flight=self._max_in_flight,
            item_seconds=self._item_seconds,
            max_wait_seconds=self._max_wait_seconds,
        )
        async with aclosing(stream.outcomes(request_iterator)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    def Reconstruct(  # noqa: N802
        self, request: contact_service_pb2.ReconstructRequest, context: Any
    ) -> AsyncIterator[contact_service_pb2.ReconstructResponse]:
        """Body and object posed together in 3D; comes with the fitting stage."""
        raise Unimplemented("Reconstruct: this version predicts contacts; the fitting engine is not part of it yet")

    async def UploadMesh(  # noqa: N802
        self, request_iterator: AsyncIterator[contact_service_pb2.UploadMeshRequest], context: Any
    ) -> contact_service_pb2.Mesh:
        """Keep a mesh for this caller."""
        owner = current_call().owner
        surface = await self._reader.read(request_iterator, owner=owner)
        await self._meshes.put(owner, surface)
        return _mesh(surface)

    async def GetMesh(  # noqa: N802
        self, request: contact_service_pb2.GetMeshRequest, context: Any
    ) -> contact_service_pb2.Mesh:
        """What is known of a mesh of this caller."""
        return _mesh(await self._meshes.get(current_call().owner, _mesh_id(request.name)))

    async def DeleteMesh(  # noqa: N802
        self, request: contact_service_pb2.DeleteMeshRequest, context: Any
    ) -> contact_service_pb2.DeleteMeshResponse:
        """Forget a mesh of this caller."""
        await self._meshes.delete(current_call().owner, _mesh_id(request.name))
        return contact_service_pb2.DeleteMeshResponse()

    async def GetBody(  # noqa: N802
        self, request: contact_service_pb2.GetBodyRequest, context: Any
    ) -> types_pb2.Body:
        """The body that human contacts lie on."""
        kind, _, topology = request.name.partition("/")
        if request.name and (kind != "bodies" or not topology):
            raise NotFound(f"name: {request.name[:64]!r} is no body; bodies are called bodies/TOPOLOGY")
        return encode_body(await self._models.body_named(topology, context=current_call().context))

    async def GetServerInfo(  # noqa: N802
        self, request: contact_service_pb2.GetServerInfoRequest, context: Any
    ) -> contact_service_pb2.ServerInfo:
        """Which checkpoints answer, and with what limits."""
        return contact_service_pb2.ServerInfo(
            version=version("interactvlm"),
            models=self._models.live_models(),
            max_in_flight=self._max_in_flight,
            max_photo_bytes=PhotoLimits().max_bytes,
        )


def _mesh(surface: Mesh | PointCloud) -> contact_service_pb2.Mesh:
    return contact_service_pb2.Mesh(
        name=f"meshes/{surface.content_hash}",
        sha256=surface.content_hash,
        vertex_count=len(surface.vertices if isinstance(surface, Mesh) else surface.xyz),
        face_count=len(surface.faces) if isinstance(surface, Mesh) else 0,
    )


def _mesh_id(name: str) -> str:
    kind, _, sha256 = name.partition("/")
    return decode_sha256(sha256 if kind == "meshes" else "", field="name")
