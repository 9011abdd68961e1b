"""A whole answer about one photo as the public API's message, and back."""

from __future__ import annotations

import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.types import Prediction, TaskResult
from interactvlm.v1 import contact_service_pb2, types_pb2
from interactvlm.wire.messages import (
    decode_box,
    decode_identity,
    decode_task,
    encode_box,
    encode_identity,
    encode_task,
)
from interactvlm.wire.tensors import from_tensor, to_tensor

__all__ = ["decode_prediction", "decode_sparse_contact", "encode_prediction", "encode_sparse_contact"]

#: More vertices than any mesh may have: an answer that claims so many is damaged.
_MAX_VERTICES = 5_000_000
_NANOSECONDS = 10**9


def encode_sparse_contact(probabilities: NDArray[np.float32], threshold: float) -> types_pb2.SparseContact:
    """The vertices at or above `threshold`, ids ascending, each with its probability."""
    ids = np.flatnonzero(probabilities >= threshold)
    return types_pb2.SparseContact(
        vertex_ids=ids.astype("<u4").tobytes(), scores=probabilities[ids].astype("<f4").tobytes()
    )


def decode_sparse_contact(message: types_pb2.SparseContact, *, vertex_count: int, field: str) -> NDArray[np.float32]:
    """Probabilities of all vertices, float32 [vertex_count], zero where the answer is silent.

    Raises:
        InputError: the blocks do not fit one another, ids are not ascending or outside, or scores outside [0, 1].
    """
    if not 0 <= vertex_count <= _MAX_VERTICES:
        raise InputError(field, f"is about {vertex_count} vertices; the limit is {_MAX_VERTICES}")
    if len(message.vertex_ids) % 4 or len(message.vertex_ids) != len(message.scores):
        raise InputError(
            field,
            f"holds {len(message.vertex_ids)} bytes of ids and {len(message.scores)} of scores; "
            "both have 4 bytes a vertex",
        )
    ids = np.frombuffer(message.vertex_ids, dtype="<u4").astype(np.int64)
    scores = np.frombuffer(message.scores, dtype="<f4")
    if len(ids) and (ids[-1] >= vertex_count or (np.diff(ids) <= 0).any()):
        raise InputError(f"{field}.vertex_ids", f"must ascend and stay below {vertex_count}")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise InputError(f"{field}.scores", "must lie in [0, 1]")
    probabilities = np.zeros(vertex_count, dtype=np.float32)
    probabilities[ids] = scores
    return probabilities


def encode_prediction(
    prediction: Prediction, *, dense: bool = False, view_logits: bool = False, replayed: bool = False
) -> contact_service_pb2.PredictResponse:
    """An answer about one photo.

    Args:
        prediction: the answer.
        dense: send the probabilities of all vertices, too.
        view_logits: send the masks of the four views (float16), too.
        replayed: it is the stored answer to a repeated request.
    """
    height, width = prediction.photo_size
    return contact_service_pb2.PredictResponse(
        results=[_encode_result(result, dense, view_logits) for result in prediction.results],
        model=encode_identity(prediction.model),
        photo_sha256=prediction.photo_sha256,
        photo_height=height,
        photo_width=width,
        person=None if prediction.person is None else encode_box(prediction.person),
        region=None if prediction.region is None else encode_box(prediction.region),
        notices=prediction.notices,
        timings=[
            types_pb2.StageTiming(stage=stage, elapsed=_duration(seconds))
            for stage, seconds in prediction.timings.items()
        ],
        replayed=replayed,
    )


def decode_prediction(message: contact_service_pb2.PredictResponse) -> Prediction:
    """An answer about one photo, as the library would give it.

    Without `dense` the probabilities below the threshold are zero. An entry that failed on its own (`error`) is left
    out, and a notice says which and why.

    Raises:
        InputError: an entry is malformed.
    """
    results, notices = [], list(message.notices)
    for index, entry in enumerate(message.results):
        if entry.HasField("error"):
            task = types_pb2.Task.Name(entry.task).removeprefix("TASK_").lower()
            notices.append(f"{f'{task} {entry.object_name}'.strip()}: no answer ({entry.error.message})")
        else:
            results.append(_decode_result(entry, f"results[{index}]"))
    return Prediction(
        photo_sha256=message.photo_sha256,
        photo_size=(message.photo_height, message.photo_width),
        model=decode_identity(message.model),
        results=tuple(results),
        region=decode_box(message.region, field="region") if message.HasField("region") else None,
        person=decode_box(message.person, field="person") if message.HasField("person") else None,
        timings={item.stage: item.elapsed.seconds + item.elapsed.nanos / _NANOSECONDS for item in message.timings},
        notices=tuple(notices),
    )


def _encode_result(result: TaskResult, dense: bool, view_logits: bool) -> contact_service_pb2.ContactResult:
    views = result.view_logits if view_logits else None
    return contact_service_pb2.ContactResult(
        task=encode_task(result.task),
        object_name=result.object_name,
        surface=result.surface,
        vertex_count=len(result.probabilities),
        threshold=result.threshold,
        contact=encode_sparse_contact(result.probabilities, result.threshold),
        probabilities=to_tensor(result.probabilities) if dense else None,
        view_logits=None if views is None else to_tensor(views.astype(np.float16)),
        text=result.text,
        confidence=result.confidence,
        parts_named=result.parts_named,
        parts_touched=result.parts_touched,
        affordance=result.affordance or "",
        contact_token=result.contact_token or "",
    )


def _decode_result(message: contact_service_pb2.ContactResult, field: str) -> TaskResult:
    count = message.vertex_count
    if message.HasField("probabilities"):
        name = f"{field}.probabilities"
        probabilities = from_tensor(message.probabilities, field=name, dtypes=(np.float32,), shape=(count,))
    else:
        probabilities = decode_sparse_contact(message.contact, vertex_count=count, field=f"{field}.contact")
    views = None
    if message.HasField("view_logits"):
        name = f"{field}.view_logits"
        views = from_tensor(message.view_logits, field=name, dtypes=(np.float16,), shape=(None, None, None))
        views = views.astype(np.float32)
    return TaskResult(
        task=decode_task(message.task, field=f"{field}.task"),
        object_name=message.object_name,
        probabilities=probabilities,
        threshold=message.threshold,
        surface=message.surface,
        text=message.text,
        confidence=message.confidence,
        parts_named=tuple(message.parts_named),
        parts_touched=tuple(message.parts_touched),
        affordance=message.affordance or None,
        contact_token=message.contact_token or None,
        view_logits=views,
    )


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * _NANOSECONDS))
