"""What a client asks, as a value and as a message; what comes back, as the library's own types."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.client.errors import from_status
from interactvlm.errors import InteractVLMError
from interactvlm.facade import parse_task
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.photo import photo_from_array, read_photo
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import ModelIdentity, PersonSelector, Prediction, Task, TaskFailure
from interactvlm.v1 import contact_service_pb2, types_pb2
from interactvlm.wire import decode_identity, decode_prediction, decode_task, encode_person, encode_task

__all__ = [
    "LiveModel",
    "Outcome",
    "PhotoRequest",
    "ServerInfo",
    "decode_outcome",
    "decode_response",
    "decode_server_info",
]


@dataclass(frozen=True, slots=True, eq=False)
class PhotoRequest:
    """One photo and what is asked about it; the arguments of `AsyncClient.predict` as a value.

    Attributes:
        photo: a file, its bytes, or upright RGB uint8 [H, W, 3] (sent as PNG).
        objects: names, or `ObjectQuery` where a mesh goes with the name.
        tasks: what to ask; None asks as `interactvlm.pipeline.plan_questions` says.
        person: whom; None: the largest person.
        fast: force the answer's beginning instead of generating it.
        dense: fetch the probabilities of all vertices; without, those below the threshold come as 0.
        view_logits: fetch the masks of the four views (0.5 MiB an answer).
        checkpoint: sha256 of the checkpoint that shall answer; "": the server's choice.
    """

    photo: Path | str | bytes | NDArray[np.uint8]
    objects: Sequence[str | ObjectQuery] = ()
    tasks: Sequence[Task | str] | None = None
    person: PersonSelector | None = None
    fast: bool = False
    dense: bool = True
    view_logits: bool = False
    checkpoint: str = ""

    @property
    def surfaces(self) -> list[Mesh | PointCloud]:
        """The meshes and points that the server must hold before it is asked."""
        return [item.surface for item in self.objects if isinstance(item, ObjectQuery) and item.surface is not None]

    def to_message(self) -> contact_service_pb2.PredictRequest:
        """The message, under a new request id; reads the photo's file.

        Raises:
            PhotoError: the photo is missing, empty or too large.
            QuestionError: a task is unknown.
        """
        photo = self.photo
        return contact_service_pb2.PredictRequest(
            request_id=str(uuid.uuid4()),
            photo=_png(photo) if isinstance(photo, np.ndarray) else read_photo(photo),
            person=None if self.person is None else encode_person(self.person),
            objects=[_object_message(item) for item in self.objects],
            tasks=[encode_task(parse_task(task)) for task in self.tasks or ()],
            fast=self.fast,
            dense=self.dense,
            include_view_logits=self.view_logits,
            checkpoint_sha256=self.checkpoint,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photo of a stream: one of `prediction` and `error` is None."""

    item_id: str
    prediction: Prediction | None = None
    error: InteractVLMError | None = None

    def unwrap(self) -> Prediction:
        """The prediction; raises the error where there is none."""
        if self.prediction is None:
            raise self.error or InteractVLMError(f"{self.item_id}: has no outcome")
        return self.prediction


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A checkpoint that answers.

    Attributes:
        identity: which.
        weight: share of the requests it gets that name no checkpoint, [0, 1].
        tasks: what it can be asked.
        body_topology: body its human contacts lie on.
    """

    identity: ModelIdentity
    weight: float
    tasks: tuple[Task, ...]
    body_topology: str


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is.

    Attributes:
        version: of its software.
        models: checkpoints that answer.
        max_in_flight: items of one stream it works on at once.
        max_photo_bytes: the largest photo it takes.
    """

    version: str
    models: tuple[LiveModel, ...]
    max_in_flight: int
    max_photo_bytes: int


def decode_response(message: contact_service_pb2.PredictResponse) -> Prediction:
    """An answer, the server's errors about single objects as typed ones.

    Raises:
        InputError: the message is malformed.
    """
    failures = tuple(
        TaskFailure(index, decode_task(entry.task, field="task"), entry.object_name, from_status(entry.error))
        for index, entry in enumerate(message.results)
        if entry.HasField("error")
    )
    return replace(decode_prediction(message), failures=failures)


def decode_outcome(message: contact_service_pb2.PredictStreamResponse) -> Outcome:
    """What became of one item.

    Raises:
        InputError: the answer is malformed.
    """
    if message.WhichOneof("outcome") == "response":
        return Outcome(message.item_id, prediction=decode_response(message.response))
    return Outcome(message.item_id, error=from_status(message.error))


def decode_server_info(message: contact_service_pb2.ServerInfo) -> ServerInfo:
    """What a server says of itself."""
    models = tuple(
        LiveModel(
            decode_identity(item.model),
            item.weight,
            tuple(decode_task(task, field="tasks") for task in item.tasks),
            item.body_topology,
        )
        for item in message.models
    )
    return ServerInfo(message.version, models, message.max_in_flight, message.max_photo_bytes)


def _object_message(item: str | ObjectQuery) -> types_pb2.ObjectQuery:
    if isinstance(item, str):
        return types_pb2.ObjectQuery(name=item)
    return types_pb2.ObjectQuery(name=item.name, mesh_sha256=item.surface.content_hash if item.surface else "")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo_from_array(pixels)).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
