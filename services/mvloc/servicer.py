"""MvlocService on the wire: messages decoded, the engine asked, contact encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.pipeline import MAX_QUESTIONS
from interactvlm.v1 import mvloc_service_pb2, mvloc_service_pb2_grpc, types_pb2, vlm_service_pb2
from interactvlm.wire import (
    decode_contact_query,
    decode_sha256,
    decode_surface,
    encode_body,
    encode_contact,
    encode_identity,
    encode_task,
)
from services.mvloc.config import MvlocConfig
from services.mvloc.engine import LocalizationEngine
from services.mvloc.model import Contacts, LocalizationModel
from services.runtime.calls import current_call

__all__ = ["MvlocService"]

_Context = grpc.aio.ServicerContext[Any, Any]


class MvlocService(mvloc_service_pb2_grpc.MvlocServiceServicer):
    """The service as the chassis runs it."""

    name = mvloc_service_pb2.DESCRIPTOR.services_by_name["MvlocService"].full_name

    def __init__(self, config: MvlocConfig) -> None:
        self.engine = LocalizationEngine(config)

    def register(self, server: grpc.aio.Server) -> None:
        """See `Service`."""
        mvloc_service_pb2_grpc.add_MvlocServiceServicer_to_server(self, server)

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
            raise InputError(
                "command", f"{command!r} is unknown; known: models, load, reload, weights, unload, clear-cache"
            )
        return result

    async def LocateBody(  # noqa: N802 - the contract's name
        self, request: mvloc_service_pb2.LocateBodyRequest, context: _Context
    ) -> mvloc_service_pb2.LocateResponse:
        """Contact on the checkpoint's body."""
        model = self._model(request.checkpoint_sha256)
        embeddings, tokens = _queries(request.queries, model.channels)
        contacts = await self.engine.locate_body(model, embeddings, tokens, call=current_call())
        return await _response(contacts, model, model.body.topology, request.include_view_logits)

    async def LocateObject(  # noqa: N802 - the contract's name
        self, request: mvloc_service_pb2.LocateObjectRequest, context: _Context
    ) -> mvloc_service_pb2.LocateResponse:
        """Contact on an object whose mesh this stage holds for the caller's owner."""
        model = self._model(request.checkpoint_sha256)
        embeddings, tokens = _queries(request.queries, model.channels)
        mesh_sha256 = decode_sha256(request.mesh_sha256, field="mesh_sha256")
        contacts = await self.engine.locate_object(model, mesh_sha256, embeddings, tokens, call=current_call())
        return await _response(contacts, model, mesh_sha256, request.include_view_logits)

    async def PutMesh(  # noqa: N802 - the contract's name
        self, request: mvloc_service_pb2.PutMeshRequest, context: _Context
    ) -> mvloc_service_pb2.PutMeshResponse:
        """Keep a mesh for the caller's owner."""
        await self.engine.put_mesh(lambda: decode_surface(request), call=current_call())
        return mvloc_service_pb2.PutMeshResponse()

    async def GetCheckpointBody(  # noqa: N802 - the contract's name
        self, request: mvloc_service_pb2.GetCheckpointBodyRequest, context: _Context
    ) -> types_pb2.Body:
        """The body that a checkpoint's human contacts lie on."""
        checkpoint = request.checkpoint_sha256
        return encode_body((self._model(checkpoint) if checkpoint else self.engine.models.default()).body)

    async def GetModelInfo(  # noqa: N802 - the contract's name
        self, request: vlm_service_pb2.GetModelInfoRequest, context: _Context
    ) -> vlm_service_pb2.ModelInfo:
        """Which checkpoints are live."""
        return vlm_service_pb2.ModelInfo(
            models=[
                vlm_service_pb2.LiveModel(
                    model=encode_identity(model.identity),
                    weight=weight,
                    tasks=map(encode_task, model.tasks),
                    body_topology=model.body.topology,
                    body_vertex_count=model.body.vertex_count,
                )
                for model, weight in self.engine.models.weights()
            ],
            device=self.engine.models.default().device,
        )

    def _model(self, checkpoint_sha256: str) -> LocalizationModel:
        return self.engine.models.choose(decode_sha256(checkpoint_sha256, field="checkpoint_sha256"))


def _queries(
    messages: Sequence[mvloc_service_pb2.ContactQuery], channels: int
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    if not 1 <= len(messages) <= MAX_QUESTIONS:
        raise InputError("queries", f"are {len(messages)}; there must be 1 to {MAX_QUESTIONS}")
    decoded = [
        decode_contact_query(message, field=f"queries[{i}]", channels=channels) for i, message in enumerate(messages)
    ]
    return np.stack([embedding for embedding, _ in decoded]), tuple(token for _, token in decoded)


async def _response(
    contacts: Contacts, model: LocalizationModel, surface: str, view_logits: bool
) -> mvloc_service_pb2.LocateResponse:
    def encode() -> mvloc_service_pb2.LocateResponse:
        return mvloc_service_pb2.LocateResponse(
            contacts=[encode_contact(contact, view_logits=view_logits) for contact in contacts],
            model=encode_identity(model.identity),
            surface=surface,
        )

    # A view's mask takes milliseconds to convert: not on the event loop, where every call waits.
    return await asyncio.to_thread(encode) if view_logits else encode()
