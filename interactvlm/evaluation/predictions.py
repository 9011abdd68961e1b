"""Predictions of one run on disk: written photo by photo group before anything is scored, resumed where they end.

A run's folder holds `run.json` (what is asked of which model: nothing else may continue it) and one file
`part-NNNNN.safetensors` for every group of photos, complete or absent.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError

__all__ = ["FORMAT", "Answer", "PredictionStore", "write_file"]

FORMAT = 1
"""Of the files; part of what a run is."""
_SMALLEST = 1e-3
"""Probabilities below are stored as 0."""
_LEVELS = 65535
"""Probabilities are stored in so many steps; 0.5 and what lies below it stay on their sides."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A model's answer to one question about one photo.

    Attributes:
        sample_id: the photo.
        key: names the question within the photo (`Truth.key`).
        values: float32 [V], probability of contact.
        text: what the language model said; "" for a baseline without one.
        parts: body parts that the text names.
        contact_token: whether the text holds a contact token; None where there is no text.
        error: why there is no answer (`values` is empty then), else "".
    """

    sample_id: str
    key: tuple[str, str, str]
    values: NDArray[np.float32]
    text: str = ""
    parts: tuple[str, ...] = ()
    contact_token: bool | None = None
    error: str = ""


class PredictionStore:
    """One run's folder.

    Args:
        folder: made when missing.
        identity: what the run is: model, photos, questions. JSON values.

    Raises:
        InputError: the folder holds another run, or cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        wanted = json.dumps(identity, indent=2, sort_keys=True) + "\n"
        file = folder / "run.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if file.exists() and file.read_text(encoding="utf-8") != wanted:
                raise InputError(str(folder), "holds predictions of another run; name another folder or empty it")
            write_file(file, wanted.encode())
        except OSError as error:
            raise InputError(str(folder), f"cannot be written ({error.strerror})") from None

    def has(self, part: int) -> bool:
        """Whether a group of photos is done."""
        return self._file(part).exists()

    def save(self, part: int, answers: Sequence[Answer]) -> None:
        """Write one group, all of it or nothing."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {}
        described = []
        for index, answer in enumerate(answers):
            arrays[f"{index:05d}"] = _packed(answer.values)
            described.append(
                {
                    "sample_id": answer.sample_id,
                    "key": list(answer.key),
                    "length": len(answer.values),
                    "text": answer.text,
                    "parts": list(answer.parts),
                    "contact_token": answer.contact_token,
                    "error": answer.error,
                }
            )
        write_file(self._file(part), save(arrays, metadata={"answers": json.dumps(described)}))

    def load(self, part: int) -> list[Answer]:
        """Read one group.

        Raises:
            InputError: the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        file = self._file(part)
        try:
            with safe_open(file, framework="numpy") as stored:
                described = json.loads(stored.metadata()["answers"])
                answers = []
                for index, entry in enumerate(described):
                    values = _unpacked(stored.get_tensor(f"{index:05d}"), entry["length"])
                    answers.append(
                        Answer(
                            sample_id=entry["sample_id"],
                            key=(entry["key"][0], entry["key"][1], entry["key"][2]),
                            values=values,
                            text=entry["text"],
                            parts=tuple(entry["parts"]),
                            contact_token=entry["contact_token"],
                            error=entry["error"],
                        )
                    )
                return answers
        except (SafetensorError, OSError, KeyError, IndexError, TypeError, ValueError, zlib.error) as error:
            raise InputError(str(file), f"is damaged ({error}); delete it and run again") from None

    def __iter__(self) -> Iterator[Answer]:
        """All answers, in the order of the photos."""
        part = 0
        while self.has(part):
            yield from self.load(part)
            part += 1

    def _file(self, part: int) -> Path:
        return self._folder / f"part-{part:05d}.safetensors"


def _packed(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = np.rint(np.where(values < _SMALLEST, 0, values).astype(np.float64) * _LEVELS).astype("<u2")
    return np.frombuffer(zlib.compress(levels.tobytes()), dtype=np.uint8)


def _unpacked(packed: NDArray[np.uint8], length: int) -> NDArray[np.float32]:
    levels = np.frombuffer(zlib.decompress(packed.tobytes()), dtype="<u2")
    if len(levels) != length:
        raise ValueError(f"{len(levels)} values, {length} are promised")
    return (levels / _LEVELS).astype(np.float32)


def write_file(file: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made where it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        scratch.write_bytes(content)
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)
