"""Answers to repeated requests in this process's memory: the store of an orchestrator that shares them with nobody.

A look-up takes microseconds, so it happens on the event loop; `replay_file.py` needs a thread for each.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from services.runtime.errors import RequestIdReused

__all__ = ["MemoryAnswers"]

#: What is kept beside an answer, and the largest answer as a share of all: as in `replay_file.py`.
_ENTRY_BYTES = 128
_LARGEST_SHARE = 16


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: bytes
    answer: bytes
    expires: float


class MemoryAnswers:
    """See `AnswerStore`.

    Args:
        ttl_seconds: how long an answer is kept.
        max_bytes: answers in all; the oldest go first; one of more than a sixteenth is not kept.
    """

    def __init__(self, *, ttl_seconds: float, max_bytes: int) -> None:
        self._ttl_seconds = ttl_seconds
        self._max_bytes = max_bytes
        self._held = 0
        self._answers: OrderedDict[bytes, _Kept] = OrderedDict()  # all live equally long: the oldest expires first

    async def get(self, key: bytes, fingerprint: bytes) -> bytes | None:
        """See `AnswerStore`."""
        self._forget_expired()
        kept = self._answers.get(key)
        if kept is None:
            return None
        if kept.fingerprint != fingerprint:
            raise RequestIdReused("request_id: was used for another request within the last minutes; choose a new one")
        return kept.answer

    async def put(self, key: bytes, fingerprint: bytes, answer: bytes) -> bytes:
        """See `AnswerStore`."""
        first = await self.get(key, fingerprint)
        if first is not None or len(answer) > self._max_bytes // _LARGEST_SHARE:
            return first or answer
        self._answers[key] = _Kept(fingerprint, answer, time.monotonic() + self._ttl_seconds)
        self._held += len(answer) + _ENTRY_BYTES
        while self._held > self._max_bytes:
            self._forget_oldest()
        return answer

    async def close(self) -> None:
        """See `AnswerStore`."""
        self._answers.clear()
        self._held = 0

    def _forget_expired(self) -> None:
        now = time.monotonic()
        while self._answers and next(iter(self._answers.values())).expires <= now:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, gone = self._answers.popitem(last=False)
        self._held -= len(gone.answer) + _ENTRY_BYTES
