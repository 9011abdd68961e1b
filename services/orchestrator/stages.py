"""The pipeline's stages as gRPC calls, for one photo: the checkpoint that answers is the photo's own.

The language stage decides which checkpoint answers (a canary may); its embeddings mean something only to the same
checkpoint's localization, so the two objects of one photo know one another.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InputError, PhotoError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.stages import CallContext
from interactvlm.types import ContactAnswer, ModelIdentity, Question, VertexContact
from interactvlm.v1 import mvloc_service_pb2, mvloc_service_pb2_grpc, vlm_service_pb2, vlm_service_pb2_grpc
from interactvlm.wire import (
    decode_answer,
    decode_contact,
    decode_identity,
    encode_contact_query,
    encode_question,
    to_tensor,
)
from services.orchestrator.body_calls import BodyCalls
from services.orchestrator.calling import StageCaller
from services.orchestrator.mesh_pushes import MeshPushes
from services.orchestrator.models import ModelDirectory
from services.orchestrator.replica import Replica
from services.runtime.errors import ServiceError

__all__ = ["RemoteLanguage", "RemoteLocalization", "Stages"]

#: Pixels up to here travel raw; a larger region is compressed to stay below the message limit.
_RAW_BYTES = 32 * 2**20
_ENCODED_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Stages:
    """The ways to the stage servers, shared by all photos.

    Attributes:
        language: calls to vlm.
        localization: calls to mvloc.
        bodies: those of them that are about the body.
        pushes: gives mvloc replicas the meshes they lack.
        models: which checkpoints are live, and their bodies.
    """

    language: StageCaller
    localization: StageCaller
    bodies: BodyCalls
    pushes: MeshPushes
    models: ModelDirectory


class RemoteLanguage:
    """Psi and Gamma on the vlm servers, for one photo.

    Args:
        stages: the ways.
        encoded: the photo's file, sent as it is when the model looks at all of it.
        size: (height, width) of the upright photo.
        checkpoint: sha256 of the checkpoint that shall answer; "" leaves the choice to the stage.
    """

    def __init__(self, stages: Stages, *, encoded: bytes, size: tuple[int, int], checkpoint: str) -> None:
        self._stages = stages
        self._encoded = encoded
        self._size = size
        self._checkpoint = checkpoint
        self._identity: ModelIdentity | None = None

    @property
    def identity(self) -> ModelIdentity:
        """See `LanguageStage`; known once the answers are there."""
        if self._identity is None:
            raise RuntimeError("the language stage has not answered yet")
        return self._identity

    @property
    def close_up(self) -> bool:
        """See `LanguageStage`: what the checkpoint asked for wants, or any that may answer."""
        return self._stages.models.close_up(self._checkpoint)

    async def answer(
        self, photo: NDArray[np.uint8], questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        """See `LanguageStage`."""
        request = vlm_service_pb2.AnswerRequest(
            questions=map(encode_question, questions), fast=fast, checkpoint_sha256=self._checkpoint
        )
        if photo.shape[:2] == self._size:
            request.encoded = self._encoded
        elif photo.nbytes <= _RAW_BYTES:
            request.pixels.CopyFrom(to_tensor(photo))
        else:
            request.encoded = await asyncio.to_thread(_compress, photo)

        async def attempt(replica: Replica) -> vlm_service_pb2.AnswerResponse:
            stub = replica.stub(vlm_service_pb2_grpc.VlmServiceStub)
            return await stub.Answer(request, timeout=context.remaining())

        response = await self._stages.language.call(
            attempt, method="Answer", context=context, checkpoint=self._checkpoint
        )
        if len(response.answers) != len(questions):
            raise ServiceError(f"the language stage gave {len(response.answers)} answers to {len(questions)} questions")
        self._identity = decode_identity(response.model)
        with _trusted():
            return [decode_answer(message, field=f"answers[{i}]") for i, message in enumerate(response.answers)]


class RemoteLocalization:
    """Phi, Theta, Omega and the lift on the mvloc servers, for one photo.

    Args:
        stages: the ways.
        language: the same photo's language stage, which knows the checkpoint.
        view_logits: ask for the masks of the views, too.
    """

    def __init__(self, stages: Stages, language: RemoteLanguage, *, view_logits: bool) -> None:
        self._stages = stages
        self._language = language
        self._view_logits = view_logits
        self._body: BodyTemplate | None = None

    @property
    def body(self) -> BodyTemplate:
        """See `LocalizationStage`; known once contacts were located."""
        if self._body is None:
            raise RuntimeError("the localization stage has not answered yet")
        return self._body

    async def body_contacts(self, answers: Sequence[ContactAnswer], *, context: CallContext) -> list[VertexContact]:
        """See `LocalizationStage`."""
        body = await self._know_body(context)
        held = _with_token(answers)
        if not held:
            return _placed(answers, {}, body.vertex_count)
        contacts = await self._stages.bodies.locate(
            [encode_contact_query(embedding, token) for _, embedding, token in held],
            checkpoint=self._language.identity.checkpoint_hash,
            vertex_count=body.vertex_count,
            view_logits=self._view_logits,
            context=context,
        )
        return _placed(answers, _contacts(contacts, held, body.vertex_count), body.vertex_count)

    async def object_contacts(
        self, surface: Mesh | PointCloud, answers: Sequence[ContactAnswer], *, context: CallContext
    ) -> list[VertexContact]:
        """See `LocalizationStage`."""
        await self._know_body(context)
        checkpoint = self._language.identity.checkpoint_hash
        count = len(surface.vertices if isinstance(surface, Mesh) else surface.xyz)
        held = _with_token(answers)
        if not held:
            return _placed(answers, {}, count)
        request = mvloc_service_pb2.LocateObjectRequest(
            queries=[encode_contact_query(embedding, token) for _, embedding, token in held],
            checkpoint_sha256=checkpoint,
            mesh_sha256=surface.content_hash,
            include_view_logits=self._view_logits,
        )

        async def attempt(replica: Replica) -> mvloc_service_pb2.LocateResponse:
            stub = replica.stub(mvloc_service_pb2_grpc.MvlocServiceStub)
            return await self._stages.pushes.pushing(
                replica, surface, lambda: stub.LocateObject(request, timeout=context.remaining()), context
            )

        response = await self._stages.localization.call(
            attempt, method="LocateObject", context=context, key=surface.content_hash, checkpoint=checkpoint
        )
        return _placed(answers, _contacts(response.contacts, held, count), count)

    async def _know_body(self, context: CallContext) -> BodyTemplate:
        self._body = await self._stages.models.body(self._language.identity.checkpoint_hash, context=context)
        return self._body


_Held = list[tuple[int, NDArray[np.float32], str]]


def _with_token(answers: Sequence[ContactAnswer]) -> _Held:
    return [(i, a.embedding, a.token) for i, a in enumerate(answers) if a.embedding is not None and a.token]


def _contacts(messages: Sequence[mvloc_service_pb2.VertexContact], held: _Held, count: int) -> dict[int, VertexContact]:
    if len(messages) != len(held):
        raise ServiceError(f"the localization stage placed {len(messages)} of {len(held)} embeddings")
    with _trusted():
        return {
            index: decode_contact(message, field=f"contacts[{k}]", vertex_count=count)
            for k, ((index, _, _), message) in enumerate(zip(held, messages, strict=True))
        }


def _placed(answers: Sequence[ContactAnswer], found: dict[int, VertexContact], count: int) -> list[VertexContact]:
    """Contacts in the answers' order; an answer without a contact token means no contact."""
    nothing = VertexContact(np.zeros(count, dtype=np.float32))
    return [found.get(i, nothing) for i in range(len(answers))]


@contextmanager
def _trusted() -> Iterator[None]:
    """A stage's malformed answer is the server's fault, not the caller's."""
    try:
        yield
    except InputError as error:
        raise ServiceError(f"a stage's answer is damaged: {error}") from error


def _compress(photo: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG", compress_level=1)
    if stream.tell() > _ENCODED_BYTES:
        height, width = photo.shape[:2]
        raise PhotoError(
            "photo", f"shows the person on {width}x{height} pixels, more than can be passed on; send it smaller"
        )
    return stream.getvalue()
