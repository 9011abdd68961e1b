"""The small values of `interactvlm.types` as messages, and back."""

from __future__ import annotations

import math
import re

import numpy as np

from interactvlm.errors import InputError, QuestionError
from interactvlm.types import (
    Box,
    ContactAnswer,
    LargestPerson,
    ModelIdentity,
    PersonSelector,
    PointOnPerson,
    Question,
    Task,
    VertexContact,
    WholePhoto,
)
from interactvlm.v1 import mvloc_service_pb2, types_pb2, vlm_service_pb2
from interactvlm.wire.tensors import from_tensor, to_tensor

__all__ = [
    "decode_answer",
    "decode_box",
    "decode_contact",
    "decode_identity",
    "decode_person",
    "decode_question",
    "decode_sha256",
    "decode_task",
    "encode_answer",
    "encode_box",
    "encode_contact",
    "encode_identity",
    "encode_person",
    "encode_question",
    "encode_task",
]

_TASKS: dict[types_pb2.Task.ValueType, Task] = {
    types_pb2.TASK_BINARY: Task.BINARY,
    types_pb2.TASK_SEMANTIC: Task.SEMANTIC,
    types_pb2.TASK_SCENE: Task.SCENE,
    types_pb2.TASK_OBJECT: Task.OBJECT,
}
_TASK_VALUES = {task: value for value, task in _TASKS.items()}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def decode_sha256(value: str, *, field: str) -> str:
    """A content hash: 64 lower-case hex digits, so that it can name a file.

    Raises:
        InputError: anything else.
    """
    if not _SHA256.fullmatch(value):
        raise InputError(field, f"has {len(value)} characters, must be a sha256 of 64 lower-case hex digits")
    return value


def encode_task(task: Task) -> types_pb2.Task.ValueType:
    """A task's number on the wire."""
    return _TASK_VALUES[task]


def decode_task(value: types_pb2.Task.ValueType, *, field: str) -> Task:
    """A task.

    Raises:
        QuestionError: the number is none of the tasks'.
    """
    if value not in _TASKS:
        raise QuestionError(field, f"is {value}; known: {', '.join(types_pb2.Task.Name(v) for v in _TASKS)}")
    return _TASKS[value]


def encode_question(question: Question) -> vlm_service_pb2.Question:
    """A question."""
    return vlm_service_pb2.Question(task=encode_task(question.task), object_name=question.object_name)


def decode_question(message: vlm_service_pb2.Question, *, field: str) -> Question:
    """A question; the name's own rules are the language model's to check.

    Raises:
        QuestionError: the task is unknown.
    """
    return Question(decode_task(message.task, field=f"{field}.task"), message.object_name)


def encode_answer(answer: ContactAnswer) -> vlm_service_pb2.ContactAnswer:
    """An answer of the language stage."""
    return vlm_service_pb2.ContactAnswer(
        text=answer.text,
        embedding=None if answer.embedding is None else to_tensor(answer.embedding),
        contact_token=answer.token or "",
        confidence=answer.confidence,
        parts=answer.parts,
        affordance=answer.affordance or "",
        generated_tokens=answer.generated_tokens,
    )


def decode_answer(message: vlm_service_pb2.ContactAnswer, *, field: str) -> ContactAnswer:
    """An answer of the language stage.

    Raises:
        InputError: the embedding is malformed.
    """
    embedding = None
    if message.HasField("embedding"):
        embedding = from_tensor(message.embedding, field=f"{field}.embedding", dtypes=(np.float32,), shape=(None,))
    return ContactAnswer(
        text=message.text,
        embedding=embedding,
        token=message.contact_token or None,
        confidence=message.confidence,
        parts=tuple(message.parts),
        affordance=message.affordance or None,
        generated_tokens=message.generated_tokens,
    )


def encode_contact(contact: VertexContact, *, view_logits: bool = False) -> mvloc_service_pb2.VertexContact:
    """Contact on a surface; the views' logits travel in half precision, and only when asked for."""
    views = contact.view_logits if view_logits else None
    return mvloc_service_pb2.VertexContact(
        probabilities=to_tensor(contact.probabilities),
        view_logits=None if views is None else to_tensor(views.astype(np.float16)),
    )


def decode_contact(
    message: mvloc_service_pb2.VertexContact, *, field: str, vertex_count: int | None = None
) -> VertexContact:
    """Contact on a surface.

    Args:
        message: from the localization stage.
        field: the message field's name, for errors.
        vertex_count: how many vertices the surface has; None where the caller does not know.

    Raises:
        InputError: a tensor is malformed or has another length.
    """
    probabilities = from_tensor(
        message.probabilities, field=f"{field}.probabilities", dtypes=(np.float32,), shape=(vertex_count,)
    )
    views = None
    if message.HasField("view_logits"):
        views = from_tensor(
            message.view_logits, field=f"{field}.view_logits", dtypes=(np.float16,), shape=(None, None, None)
        ).astype(np.float32)
    return VertexContact(probabilities, views)


def encode_identity(identity: ModelIdentity) -> types_pb2.ModelIdentity:
    """Which weights answered."""
    return types_pb2.ModelIdentity(
        name=identity.name,
        checkpoint_sha256=identity.checkpoint_hash,
        trained=identity.trained,
        notice=identity.notice,
        close_up=identity.close_up,
    )


def decode_identity(message: types_pb2.ModelIdentity) -> ModelIdentity:
    """Which weights answered."""
    return ModelIdentity(
        message.name, message.checkpoint_sha256, message.trained, message.notice, close_up=message.close_up
    )


def encode_box(box: Box) -> types_pb2.BoundingBox:
    """A rectangle."""
    return types_pb2.BoundingBox(left=box.left, top=box.top, right=box.right, bottom=box.bottom)


def decode_box(message: types_pb2.BoundingBox, *, field: str) -> Box:
    """A rectangle; whether it lies in the photo is checked by who knows the photo.

    Raises:
        QuestionError: an edge is not finite, or the rectangle is empty.
    """
    edges = (message.left, message.top, message.right, message.bottom)
    if not all(map(math.isfinite, edges)) or edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise QuestionError(field, f"is {list(edges)}; left must be less than right and top less than bottom")
    return Box(*edges)


def encode_person(selector: PersonSelector) -> types_pb2.PersonSelector:
    """Whom a request is about."""
    match selector:
        case Box():
            return types_pb2.PersonSelector(box=encode_box(selector))
        case PointOnPerson(x, y):
            return types_pb2.PersonSelector(point=types_pb2.Point(x=x, y=y))
        case WholePhoto():
            return types_pb2.PersonSelector(whole_photo=True)
        case LargestPerson():
            return types_pb2.PersonSelector(largest=True)


def decode_person(message: types_pb2.PersonSelector, *, field: str) -> PersonSelector:
    """Whom a request is about; an empty message means the largest person.

    Raises:
        QuestionError: a coordinate is not finite, the box is empty, or a flag is set to false.
    """
    chosen = message.WhichOneof("person")
    if chosen == "box":
        return decode_box(message.box, field=f"{field}.box")
    if chosen == "point":
        if not (math.isfinite(message.point.x) and math.isfinite(message.point.y)):
            raise QuestionError(f"{field}.point", "has a coordinate that is not finite")
        return PointOnPerson(message.point.x, message.point.y)
    if chosen is not None and not getattr(message, chosen):
        raise QuestionError(f"{field}.{chosen}", "is false; set it to true or choose otherwise")
    return WholePhoto() if chosen == "whole_photo" else LargestPerson()
