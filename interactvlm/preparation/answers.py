"""Paid answers, kept: a line of JSON each, on disk before anybody uses it, so that no question is paid for twice.

The file only grows. A line that a dying process left unfinished is cut off when the file is opened again.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from interactvlm.errors import InputError

__all__ = ["AnswerStore"]

_BEGINNING = b'{"key": "'


class AnswerStore:
    """A file of answers by key, open in one process at a time.

    Args:
        path: created when it is not there.

    Raises:
        InputError: the file cannot be opened, is in use, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._answers: dict[str, dict[str, Any]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise InputError(str(path), f"cannot be opened ({error.strerror})") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load()
        except OSError:
            self._file.close()
            raise InputError(str(path), "is in use by another process") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept under a key."""
        with self._lock:
            return self._answers.get(key)

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer; it is on disk when this returns.

        Raises:
            InputError: it cannot be written.
        """
        line = json.dumps({"key": key, **answer}).encode() + b"\n"
        with self._lock:
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise InputError(str(self.path), f"cannot be written ({error.strerror})") from None
            self._answers[key] = answer

    def _load(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            torn = not line.endswith(b"\n")
            if torn and line.startswith(_BEGINNING[: len(line)]):
                break
            try:
                answer = json.loads(line)
                self._answers[str(answer.pop("key"))] = answer
            except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
                raise InputError(f"{self.path}: line {number}", "is no answer: the file is not one of ours") from None
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)
