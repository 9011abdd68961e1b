"""A public request about one photo, from message to message: checks, meshes, the pipeline, partial answers, replay."""

from __future__ import annotations

import asyncio
import hashlib
import time

from interactvlm.errors import QuestionError
from interactvlm.pipeline import ObjectQuery, Pipeline
from interactvlm.stages import CallContext, PersonStage
from interactvlm.v1 import contact_service_pb2
from interactvlm.wire import decode_person, decode_sha256, decode_task, encode_prediction, encode_task
from services.orchestrator.budgets import LatencyWindow
from services.orchestrator.mesh_store import MeshStore
from services.orchestrator.photos import PhotoRoom
from services.orchestrator.replay import Replay
from services.orchestrator.stages import RemoteLanguage, RemoteLocalization, Stages
from services.runtime.errors import QueueFull
from services.runtime.status import to_status

__all__ = ["MAX_OBJECTS", "Predictor"]

MAX_OBJECTS = 64
_MAX_REQUEST_ID = 128
_SHORTEST_RETRY = 0.1
#: Bytes that are hashed sooner (0.2 ms) than another thread has taken them over and back.
_QUICKLY_HASHED = 256 * 2**10


class Predictor:
    """Answers requests about photos.

    Args:
        stages: the ways to the stage servers.
        people: finds the chosen person.
        meshes: the callers' meshes.
        photos: room for decoded photos.
        replay: answers to repeated requests.
        max_pending: requests in work at once.
        max_pending_bytes: their encoded photos.
        max_answer_bytes: largest answer.
    """

    def __init__(
        self,
        *,
        stages: Stages,
        people: PersonStage,
        meshes: MeshStore,
        photos: PhotoRoom,
        replay: Replay,
        max_pending: int,
        max_pending_bytes: int,
        max_answer_bytes: int,
    ) -> None:
        self._stages = stages
        self._people = people
        self._meshes = meshes
        self._photos = photos
        self._replay = replay
        self._max_pending = max_pending
        self._max_pending_bytes = max_pending_bytes
        self._max_answer_bytes = max_answer_bytes
        self._pending = 0
        self._pending_bytes = 0
        self._latency = LatencyWindow()

    async def predict(
        self, request: contact_service_pb2.PredictRequest, *, owner: str, context: CallContext
    ) -> contact_service_pb2.PredictResponse:
        """Answer one request; a repeated one gets the answer it had.

        Args:
            request: from outside.
            owner: whose meshes and earlier answers count.
            context: the caller's deadline.

        Raises:
            QueueFull: too much is in work.
            RequestIdReused: the id was used for another request.
            InteractVLMError: the request cannot be answered.
        """
        if len(request.request_id) > _MAX_REQUEST_ID:
            raise QuestionError(
                "request_id", f"has {len(request.request_id)} characters; the limit is {_MAX_REQUEST_ID}"
            )
        size = len(request.photo)
        self._check_room(size)
        self._pending += 1
        self._pending_bytes += size
        begin = time.monotonic()
        try:
            fingerprint = await _identify(request) if request.request_id else b""

            async def work(within: CallContext) -> bytes:
                return (await self._answer(request, owner, within)).SerializeToString()

            answer, repeated = await self._replay.once(
                work, owner=owner, request_id=request.request_id, fingerprint=fingerprint, context=context
            )
        finally:
            self._pending -= 1
            self._pending_bytes -= size
        self._latency.add(time.monotonic() - begin)
        response = contact_service_pb2.PredictResponse.FromString(answer)
        response.replayed = repeated
        return response

    def _check_room(self, size: int) -> None:
        full = self._pending >= self._max_pending
        if not full and (not self._pending or self._pending_bytes + size <= self._max_pending_bytes):
            return
        raise QueueFull(
            f"{self._pending} photos of {self._pending_bytes} bytes are in work; the limits are "
            f"{self._max_pending} and {self._max_pending_bytes}",
            retry_after=max(self._latency.p95 or 0.0, _SHORTEST_RETRY),
        )

    async def _answer(
        self, request: contact_service_pb2.PredictRequest, owner: str, context: CallContext
    ) -> contact_service_pb2.PredictResponse:
        if len(request.objects) > MAX_OBJECTS:
            raise QuestionError("objects", f"are {len(request.objects)}; the limit is {MAX_OBJECTS}")
        checkpoint = request.checkpoint_sha256
        if checkpoint:
            decode_sha256(checkpoint, field="checkpoint_sha256")
        person = decode_person(request.person, field="person")
        tasks = [decode_task(task, field=f"tasks[{i}]") for i, task in enumerate(request.tasks)]
        objects = [
            ObjectQuery(
                item.name,
                await self._meshes.get(owner, decode_sha256(item.mesh_sha256, field=f"objects[{i}].mesh_sha256"))
                if item.mesh_sha256
                else None,
            )
            for i, item in enumerate(request.objects)
        ]
        async with self._photos.decoded(request.photo, owner=owner, context=context) as photo:
            language = RemoteLanguage(
                self._stages, encoded=request.photo, size=(photo.shape[0], photo.shape[1]), checkpoint=checkpoint
            )
            localization = RemoteLocalization(self._stages, language, view_logits=request.include_view_logits)
            prediction = await Pipeline(language=language, localization=localization, people=self._people).predict(
                photo,
                objects=objects,
                tasks=tasks or None,
                person=person,
                fast=request.fast,
                partial=True,
                context=context,
            )
        response = encode_prediction(prediction, dense=request.dense, view_logits=request.include_view_logits)
        for failure in prediction.failures:  # ascending, so each lands at its place in the order asked
            failed = contact_service_pb2.ContactResult(
                task=encode_task(failure.task), object_name=failure.object_name, error=to_status(failure.error)
            )
            response.results.insert(failure.index, failed)
        if response.ByteSize() > self._max_answer_bytes:
            raise QuestionError(
                "objects",
                f"make an answer of {response.ByteSize()} bytes; the limit is {self._max_answer_bytes}: ask for fewer, "
                "or without dense and include_view_logits",
            )
        return response


async def _identify(request: contact_service_pb2.PredictRequest) -> bytes:
    if len(request.photo) <= _QUICKLY_HASHED:
        return _fingerprint(request)
    return await asyncio.to_thread(_fingerprint, request)


def _fingerprint(request: contact_service_pb2.PredictRequest) -> bytes:
    """Hash of everything but the id; the photo, which is most of it, is not copied."""
    rest = contact_service_pb2.PredictRequest()
    for field, value in request.ListFields():
        if field.name in ("request_id", "photo"):
            continue
        if field.is_repeated:
            getattr(rest, field.name).MergeFrom(value)
        elif field.message_type is not None:
            getattr(rest, field.name).CopyFrom(value)
        else:
            setattr(rest, field.name, value)
    digest = hashlib.sha256(rest.SerializeToString(deterministic=True))
    digest.update(request.photo)
    return digest.digest()
