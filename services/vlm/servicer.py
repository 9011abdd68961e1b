"""VlmService on the wire: messages decoded, the engine asked, answers encoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError, PhotoError, QuestionError
from interactvlm.pipeline import MAX_QUESTIONS
from interactvlm.v1 import vlm_service_pb2, vlm_service_pb2_grpc
from interactvlm.wire import (
    decode_image,
    decode_question,
    decode_sha256,
    encode_answer,
    encode_identity,
    encode_task,
)
from services.runtime.calls import current_call
from services.vlm.config import VlmConfig
from services.vlm.engine import LanguageEngine

__all__ = ["VlmService"]

_Context = grpc.aio.ServicerContext[Any, Any]


class VlmService(vlm_service_pb2_grpc.VlmServiceServicer):
    """The service as the chassis runs it."""

    name = vlm_service_pb2.DESCRIPTOR.services_by_name["VlmService"].full_name

    def __init__(self, config: VlmConfig) -> None:
        self.engine = LanguageEngine(config)

    def register(self, server: grpc.aio.Server) -> None:
        """See `Service`."""
        vlm_service_pb2_grpc.add_VlmServiceServicer_to_server(self, server)

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

    async def Answer(  # noqa: N802 - the contract's name
        self, request: vlm_service_pb2.AnswerRequest, context: _Context
    ) -> vlm_service_pb2.AnswerResponse:
        """Answer all questions on one photo."""
        count = len(request.questions)
        if not 1 <= count <= MAX_QUESTIONS:
            raise QuestionError("questions", f"are {count}; there must be 1 to {MAX_QUESTIONS}")
        questions = [decode_question(message, field=f"questions[{i}]") for i, message in enumerate(request.questions)]
        checkpoint = request.checkpoint_sha256
        image = request.WhichOneof("image") or "image"

        def read_photo() -> NDArray[np.uint8]:
            try:
                return decode_image(request)
            finally:
                request.ClearField("image")  # only the prepared photo waits in the queue

        try:
            answered = await self.engine.answer(
                read_photo,
                questions,
                photo_bytes=request.ByteSize(),
                fast=request.fast,
                checkpoint_sha256=decode_sha256(checkpoint, field="checkpoint_sha256") if checkpoint else "",
                call=current_call(),
            )
        except PhotoError as error:
            raise PhotoError(image, error.problem) from None
        return vlm_service_pb2.AnswerResponse(
            answers=map(encode_answer, answered.answers),
            model=encode_identity(answered.identity),
            cached=answered.cached,
        )

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
                    body_topology=model.vlm.config.body_topology,
                )
                for model, weight in self.engine.models.weights()
            ],
            device=self.engine.models.default().device,
        )
