"""Answers to repeated requests in a SQLite file that the processes of one machine share."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from services.runtime.errors import RequestIdReused

__all__ = ["FileAnswers"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY, fingerprint BLOB NOT NULL, answer BLOB NOT NULL, size INTEGER NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (expires);
"""
_SWEEPS = 16
_ROW_BYTES = 128
_BUSY_SECONDS = 5.0

T = TypeVar("T")


class FileAnswers:
    """See `AnswerStore`; its thread does the waiting for the disk.

    Args:
        file: shared by the processes of one machine.
        ttl_seconds: for how long.
        max_bytes: answers in all; those that expire first go first; one of more than a sixteenth is not kept.
    """

    def __init__(self, file: Path, *, ttl_seconds: float, max_bytes: int) -> None:
        self._ttl_seconds = ttl_seconds
        self._max_bytes = max_bytes
        self._unswept, self._swept = 0, 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="interactvlm-replay")
        self._db = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")  # a power cut may lose answers: the work is done anew
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA)

    async def get(self, key: bytes, fingerprint: bytes) -> bytes | None:
        """See `AnswerStore`."""
        return await self._run(lambda: self._get(key, fingerprint))

    async def put(self, key: bytes, fingerprint: bytes, answer: bytes) -> bytes:
        """See `AnswerStore`."""
        return await self._run(lambda: self._put(key, fingerprint, answer))

    async def close(self) -> None:
        """Release file and thread."""
        await self._run(self._db.close)
        self._thread.shutdown()

    def _get(self, key: bytes, fingerprint: bytes) -> bytes | None:
        row = self._db.execute(
            "SELECT fingerprint, answer FROM answers WHERE key = ? AND expires > ?", (key, time.time())
        ).fetchone()
        if row is None:
            return None
        if row[0] != fingerprint:
            raise RequestIdReused("request_id: was used for another request within the last minutes; choose a new one")
        return bytes(row[1])

    def _put(self, key: bytes, fingerprint: bytes, answer: bytes) -> bytes:
        if len(answer) > self._max_bytes // _SWEEPS:
            return answer
        now = time.time()
        self._db.execute("DELETE FROM answers WHERE key = ? AND expires <= ?", (key, now))
        self._db.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)",
            (key, fingerprint, answer, len(answer) + _ROW_BYTES, now + self._ttl_seconds),
        )
        self._unswept += len(answer) + _ROW_BYTES
        if self._unswept > self._max_bytes // _SWEEPS or now - self._swept > self._ttl_seconds / _SWEEPS:
            self._sweep(now)
            self._unswept, self._swept = 0, now
        return self._get(key, fingerprint) or answer

    def _sweep(self, now: float) -> None:
        self._db.execute("DELETE FROM answers WHERE expires <= ?", (now,))
        self._db.execute(
            "DELETE FROM answers WHERE key IN (SELECT key FROM ("
            " SELECT key, SUM(size) OVER (ORDER BY expires DESC, key) AS newer FROM answers) WHERE newer > ?)",
            (self._max_bytes,),
        )

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
