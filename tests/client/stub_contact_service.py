"""A ContactService that does what a test tells it, on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.protobuf import any_pb2
from google.rpc import status_pb2

from interactvlm.body import load_template
from interactvlm.geometry.load import load_mesh, load_point_cloud
from interactvlm.geometry.mesh import Mesh
from interactvlm.types import Box, ModelIdentity, Prediction, Task, TaskResult
from interactvlm.v1 import contact_service_pb2 as pb
from interactvlm.v1 import contact_service_pb2_grpc as pb_grpc
from interactvlm.wire import encode_body, encode_prediction


def make_prediction(name: str = "chair", vertices: int = 100) -> Prediction:
    generator = np.random.default_rng(len(name))
    result = TaskResult(
        task=Task.SEMANTIC,
        object_name=name,
        probabilities=generator.random(vertices, dtype=np.float32),
        threshold=0.5,
        surface="anny",
        text="The hands touch it. [HSEG]",
        confidence=0.75,
        parts_named=("left hand",),
        parts_touched=("left hand", "right hand"),
        contact_token="[HSEG]",
        view_logits=generator.standard_normal((4, 8, 8)).astype(np.float16).astype(np.float32),
    )
    return Prediction(
        photo_sha256="a" * 64,
        photo_size=(48, 64),
        model=ModelIdentity("stub", "b" * 64),
        results=(result,),
        person=Box(1, 2, 3, 4),
        timings={"language": 0.25},
    )


def make_status(code: grpc.StatusCode, message: str, *details: Any) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def abort(context: Any, status: status_pb2.Status, **trailing: str) -> None:
    metadata = (
        ("grpc-status-details-bin", status.SerializeToString()),
        *((key.replace("_", "-"), value) for key, value in trailing.items()),
    )
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, status.message, trailing_metadata=metadata)


@dataclass
class Stub(pb_grpc.ContactServiceServicer):
    """`on_predict` answers a request or aborts; `on_stream` may end a stream after so many answers."""

    on_predict: Callable[[pb.PredictRequest, Any], Any] | None = None
    stream_breaks: list[tuple[int, status_pb2.Status | None]] = field(default_factory=list)
    max_in_flight: int = 100
    requests: list[pb.PredictRequest] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    meshes: dict[str, Any] = field(default_factory=dict)
    uploads: int = 0
    refuse_uploads: status_pb2.Status | None = None
    unanswered: int = 0
    most_unanswered: int = 0
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def _answer(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        self.requests.append(request)
        if self.on_predict is not None:
            try:
                answer = await self.on_predict(request, context)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            if answer is not None:
                return answer
        name = request.objects[0].name if request.objects else ""
        return encode_prediction(make_prediction(name), dense=request.dense, view_logits=request.include_view_logits)

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        self.metadata.append(dict(context.invocation_metadata()))
        return await self._answer(request, context)

    async def PredictStream(
        self, requests: AsyncIterator[pb.PredictStreamRequest], context: Any
    ) -> AsyncIterator[pb.PredictStreamResponse]:
        self.metadata.append(dict(context.invocation_metadata()))
        answers, status = self.stream_breaks.pop(0) if self.stream_breaks else (None, None)
        if answers == 0:
            if status is not None:
                await abort(context, status)
            return
        await context.send_initial_metadata((("interactvlm-max-in-flight", str(self.max_in_flight)),))
        held: list[pb.PredictStreamRequest] = []
        async for item in requests:
            if answers == 0:
                if status is None:
                    return
                await abort(context, status)
            self.unanswered += 1
            self.most_unanswered = max(self.most_unanswered, self.unanswered)
            held.append(item)
            if len(held) < 2:  # so that answers come out of order
                await asyncio.sleep(0.01)
                continue
            for each in reversed(held):
                yield await self._outcome(each, context)
            answers = None if answers is None else max(0, answers - len(held))
            held = []
        for each in held:
            yield await self._outcome(each, context)

    async def _outcome(self, item: pb.PredictStreamRequest, context: Any) -> pb.PredictStreamResponse:
        self.unanswered -= 1
        if item.request.objects and item.request.objects[0].name == "bad":
            error = make_status(grpc.StatusCode.INVALID_ARGUMENT, "photo: is bad")
            return pb.PredictStreamResponse(item_id=item.item_id, error=error)
        return pb.PredictStreamResponse(item_id=item.item_id, response=await self._answer(item.request, context))

    async def UploadMesh(self, requests: AsyncIterator[pb.UploadMeshRequest], context: Any) -> pb.Mesh:
        if self.refuse_uploads is not None:
            await abort(context, self.refuse_uploads)
        pieces = [piece async for piece in requests]
        data = b"".join(piece.chunk for piece in pieces)
        load = load_mesh if pieces[0].file_type == "ply" else load_point_cloud
        surface = load(data, file_type=pieces[0].file_type)
        self.uploads += 1
        self.meshes[surface.content_hash] = surface
        count = len(surface.vertices if isinstance(surface, Mesh) else surface.xyz)
        name = f"meshes/{surface.content_hash}"
        return pb.Mesh(name=name, sha256=surface.content_hash, vertex_count=count)

    async def GetMesh(self, request: pb.GetMeshRequest, context: Any) -> pb.Mesh:
        sha256 = request.name.removeprefix("meshes/")
        if sha256 not in self.meshes:
            await abort(context, make_status(grpc.StatusCode.NOT_FOUND, "no such mesh"))
        return pb.Mesh(name=request.name, sha256=sha256)

    async def DeleteMesh(self, request: pb.DeleteMeshRequest, context: Any) -> pb.DeleteMeshResponse:
        del self.meshes[request.name.removeprefix("meshes/")]
        return pb.DeleteMeshResponse()

    async def GetBody(self, request: pb.GetBodyRequest, context: Any) -> Any:
        return encode_body(load_template(request.name.removeprefix("bodies/") or "anny"))

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Any) -> pb.ServerInfo:
        return pb.ServerInfo(version="7", max_in_flight=3, max_photo_bytes=5)
