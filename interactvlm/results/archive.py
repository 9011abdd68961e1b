"""Our own record of one photo: `{stem}.json` for people and programs, `{stem}.npz` for the arrays.

The JSON holds every field of a `Prediction` that is not an array, with the counts that save a reader from opening the
npz; each result names its arrays there:

- `probabilities_{i}` float32 [V]
- `vertex_ids_{i}` int32 [n], the vertices at or above the threshold
- `view_logits_{i}` float16 [J, 256, 256], absent for an answer without a contact token. Half precision is the only
  loss: about three decimal digits of a logit; what lies beyond +-65504 is clamped.

The npz also carries `trained` (bool) and `notice` (text) of the model, for a reader who opens nothing but the npz.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError, InteractVLMError
from interactvlm.npz import read_arrays
from interactvlm.results.community import npz_bytes
from interactvlm.results.naming import check_stem
from interactvlm.types import Box, MaskPrediction, ModelIdentity, Prediction, Target, Task, TaskFailure, TaskResult

__all__ = ["FORMAT", "archive_files", "common_fields", "prediction_to_dict", "read_prediction"]

FORMAT = "interactvlm.prediction/1"

_HALF_MAX = float(np.finfo(np.float16).max)
_MAX_JSON_BYTES = 64 * 2**20


def archive_files(prediction: Prediction, *, stem: str) -> dict[str, bytes]:
    """The two files by name.

    Raises:
        InputError: the stem cannot be a file name.
    """
    check_stem(stem)
    document = json.dumps(prediction_to_dict(prediction), ensure_ascii=False, indent=2, allow_nan=False)
    model = prediction.model
    arrays: dict[str, NDArray[Any]] = {"trained": np.array(model.trained), "notice": np.array(model.notice)}
    for index, result in enumerate(prediction.results):
        arrays[f"probabilities_{index}"] = result.probabilities.astype(np.float32)
        arrays[f"vertex_ids_{index}"] = result.vertex_ids.astype(np.int32)
        if result.view_logits is not None:
            arrays[f"view_logits_{index}"] = np.clip(result.view_logits, -_HALF_MAX, _HALF_MAX).astype(np.float16)
    return {f"{stem}.json": document.encode() + b"\n", f"{stem}.npz": npz_bytes(arrays)}


def prediction_to_dict(prediction: Prediction) -> dict[str, Any]:
    """Every field that is not an array, as JSON values (also what a command prints with `--json`)."""
    return {
        "format": FORMAT,
        **common_fields(prediction),
        "results": [_result_document(index, result) for index, result in enumerate(prediction.results)],
        "failures": [
            {"index": item.index, "task": item.task.value, "object": item.object_name, "error": str(item.error)}
            for item in prediction.failures
        ],
    }


def common_fields(prediction: Prediction | MaskPrediction) -> dict[str, Any]:
    """What is known about a photo besides its results, as JSON values."""
    height, width = prediction.photo_size
    return {
        "trained": prediction.model.trained,
        "notices": list(prediction.notices),
        "model": {
            "name": prediction.model.name,
            "checkpoint_hash": prediction.model.checkpoint_hash,
            "trained": prediction.model.trained,
            "notice": prediction.model.notice,
            "close_up": prediction.model.close_up,
        },
        "photo": {"sha256": prediction.photo_sha256, "height": int(height), "width": int(width)},
        "region": _box_document(prediction.region),
        "person": _box_document(prediction.person),
        "timings": {name: float(seconds) for name, seconds in prediction.timings.items()},
    }


def read_prediction(path: Path | str) -> Prediction:
    """Read back what `archive_files` made.

    Args:
        path: the `.json` file, the `.npz` beside it, or both without suffix.

    Returns:
        the prediction as it was, view logits rounded to half precision (float32 again), each failure's error as a
        plain `InteractVLMError` with its sentence.

    Raises:
        InputError: a file is missing, damaged, too large, or the two do not belong together.
    """
    base = Path(path)
    if base.suffix in (".json", ".npz"):
        base = base.with_suffix("")
    # Not with_suffix: a stem may hold dots ("photo.v2").
    json_path, npz_path = base.with_name(base.name + ".json"), base.with_name(base.name + ".npz")
    try:
        document = json.loads(_read(json_path))
        if document["format"] != FORMAT:
            raise InputError(str(json_path), f"has format {document['format']!r}; this version reads {FORMAT!r}")
        return _prediction(document, _arrays(npz_path, document))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(str(base), f"is not a readable prediction ({type(error).__name__}: {error})") from None


def _result_document(index: int, result: TaskResult) -> dict[str, Any]:
    human = result.target is Target.HUMAN
    return {
        "task": result.task.value,
        "object": result.object_name,
        "text": result.text,
        "confidence": float(result.confidence),
        "contact_token": result.contact_token,
        "parts_named": list(result.parts_named),
        "parts_touched": list(result.parts_touched),
        "affordance": result.affordance,
        "threshold": float(result.threshold),
        "touched": len(result.vertex_ids),
        "vertices": len(result.probabilities),
        "surface": {"kind": "body", "topology": result.surface}
        if human
        else {"kind": "object", "hash": result.surface},
        "arrays": {
            "probabilities": f"probabilities_{index}",
            "vertex_ids": f"vertex_ids_{index}",
            "view_logits": None if result.view_logits is None else f"view_logits_{index}",
        },
    }


def _box_document(box: Box | None) -> list[float] | None:
    return None if box is None else [float(box.left), float(box.top), float(box.right), float(box.bottom)]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_JSON_BYTES + 1)
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from None
    if len(data) > _MAX_JSON_BYTES:
        raise InputError(str(path), f"is larger than the limit of {_MAX_JSON_BYTES} bytes")
    return data


def _arrays(path: Path, document: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays that the document names: headers are checked before memory is taken for what they claim."""
    entries = [entry["arrays"] for entry in document["results"]]
    names = [entry[kind] for entry in entries for kind in ("probabilities", "view_logits") if entry[kind] is not None]
    return read_arrays(path, tuple(map(str, names)))


def _prediction(document: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Prediction:
    model, photo = document["model"], document["photo"]
    return Prediction(
        photo_sha256=str(photo["sha256"]),
        photo_size=(int(photo["height"]), int(photo["width"])),
        model=ModelIdentity(
            name=str(model["name"]),
            checkpoint_hash=str(model["checkpoint_hash"]),
            trained=bool(model["trained"]),
            notice=str(model["notice"]),
            close_up=bool(model["close_up"]),
        ),
        results=tuple(_result(entry, arrays) for entry in document["results"]),
        region=_box(document["region"]),
        person=_box(document["person"]),
        timings={str(name): float(seconds) for name, seconds in document["timings"].items()},
        notices=tuple(str(notice) for notice in document["notices"]),
        failures=tuple(_failure(entry) for entry in document["failures"]),
    )


def _result(entry: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> TaskResult:
    names, surface = entry["arrays"], entry["surface"]
    probabilities = arrays[names["probabilities"]]
    if probabilities.dtype != np.float32 or probabilities.shape != (entry["vertices"],):
        raise ValueError(f"{names['probabilities']} is {probabilities.dtype} {list(probabilities.shape)}")
    view_logits = None if names["view_logits"] is None else arrays[names["view_logits"]]
    if view_logits is not None and (view_logits.dtype != np.float16 or view_logits.ndim != 3):
        raise ValueError(f"{names['view_logits']} is {view_logits.dtype} {list(view_logits.shape)}")
    result = TaskResult(
        task=Task(entry["task"]),
        object_name=str(entry["object"]),
        probabilities=probabilities,
        threshold=float(entry["threshold"]),
        surface=str(surface["topology" if surface["kind"] == "body" else "hash"]),
        text=str(entry["text"]),
        confidence=float(entry["confidence"]),
        parts_named=tuple(str(part) for part in entry["parts_named"]),
        parts_touched=tuple(str(part) for part in entry["parts_touched"]),
        affordance=None if entry["affordance"] is None else str(entry["affordance"]),
        contact_token=None if entry["contact_token"] is None else str(entry["contact_token"]),
        view_logits=None if view_logits is None else view_logits.astype(np.float32),
    )
    if len(result.vertex_ids) != entry["touched"]:
        raise ValueError("the touched vertices of the two files differ")
    return result


def _failure(entry: dict[str, Any]) -> TaskFailure:
    error = InteractVLMError(str(entry["error"]))
    return TaskFailure(int(entry["index"]), Task(entry["task"]), str(entry["object"]), error)


def _box(value: list[float] | None) -> Box | None:
    return None if value is None else Box(*(float(side) for side in value))
