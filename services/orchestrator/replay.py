"""The same request_id gets the same answer without new work: per owner, for a while, in SQLite.

Only answers are kept, never failures: who repeats a failed request wants it tried again. Repeats that arrive while the
first is still in work wait for it (in this process; two processes at worst do the work twice and the first answer to be
stored is given to both).
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from interactvlm.errors import CancelledError, DeadlineExceededError
from interactvlm.stages import CallContext
from services.runtime.errors import RequestIdReused
from services.runtime.metrics import CACHE_REQUESTS

__all__ = ["Replay", "ReplayStore"]

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
Work = Callable[[CallContext], Awaitable[bytes]]


class ReplayStore:
    """Answers by owner and request id; its thread does the waiting for the disk.

    Args:
        file: shared by the processes of one machine; None keeps the answers in memory.
        ttl_seconds: for how long.
        max_bytes: answers in all; those that expire first go first; one of more than a sixteenth is not kept.
    """

    def __init__(self, file: Path | None, *, ttl_seconds: float, max_bytes: int) -> None:
        self._ttl_seconds = ttl_seconds
        self._max_bytes = max_bytes
        self._unswept = max_bytes  # what is found at start is swept with the first answer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="interactvlm-replay")
        self._db = sqlite3.connect(
            file or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")  # a power cut may lose answers: the work is done anew
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA)

    async def get(self, key: bytes, fingerprint: bytes) -> bytes | None:
        """The stored answer, None when there is none.

        Raises:
            RequestIdReused: the id was used for another request.
        """
        return await self._run(lambda: self._get(key, fingerprint))

    async def put(self, key: bytes, fingerprint: bytes, answer: bytes) -> bytes:
        """Store an answer; returns the one that counts, which is the first stored.

        Raises:
            RequestIdReused: another process stored an answer to another request under the id.
        """
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
        if self._unswept > self._max_bytes // _SWEEPS:
            self._sweep(now)
            self._unswept = 0
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


@dataclass(slots=True)
class _Flight:
    """Work under way, and how many wait for it."""

    key: bytes
    fingerprint: bytes
    context: CallContext
    task: asyncio.Task[bytes]
    waiting: int = 0


class Replay:
    """Answers requests once per id.

    Args:
        store: where answers are kept.
    """

    def __init__(self, store: ReplayStore) -> None:
        self._store = store
        self._flights: dict[bytes, _Flight] = {}

    async def once(
        self, work: Work, *, owner: str, request_id: str, fingerprint: bytes, context: CallContext
    ) -> tuple[bytes, bool]:
        """The answer to a request: the stored one, the one under way, or the result of `work`.

        Args:
            work: finds the answer within the context it is given; goes on as long as anybody waits for it.
            owner: answers are never given to anybody else.
            request_id: the caller's; "" always does the work.
            fingerprint: hash of the request.
            context: the caller's.

        Returns:
            The answer, and whether it was found without new work.

        Raises:
            RequestIdReused: the id was used for another request; whatever `work` raises.
        """
        if not request_id:
            return await work(context), False
        key = hashlib.sha256(f"{len(owner)}:{owner}{request_id}".encode()).digest()
        while True:
            flight = self._flights.get(key)
            joined = flight is not None
            if flight is None:
                stored = await self._store.get(key, fingerprint)
                CACHE_REQUESTS.labels("replay", "miss" if stored is None else "hit").inc()
                if stored is not None:
                    return stored, True
                flight = self._flights.get(key)  # somebody may have begun meanwhile
                joined = flight is not None
                if flight is None:
                    flight = self._begin(key, fingerprint, work, context)
            if flight.fingerprint != fingerprint:
                raise RequestIdReused("request_id: is in use for another request; choose a new one")
            try:
                return await self._wait(flight, context), joined
            except (CancelledError, DeadlineExceededError):
                context.check()
                if not joined:
                    raise
                # The one who began had less time than this caller: begin anew.

    def _begin(self, key: bytes, fingerprint: bytes, work: Work, context: CallContext) -> _Flight:
        own = CallContext(context.deadline)

        async def find() -> bytes:
            return await self._store.put(key, fingerprint, await work(own))

        task = asyncio.create_task(find())
        flight = self._flights[key] = _Flight(key, fingerprint, own, task)
        task.add_done_callback(lambda _: self._end(flight))
        return flight

    async def _wait(self, flight: _Flight, context: CallContext) -> bytes:
        flight.waiting += 1
        try:
            return await asyncio.wait_for(asyncio.shield(flight.task), context.remaining())
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed before the answer was ready") from None
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._flights.pop(flight.key, None)  # nobody may join what is being cancelled
                flight.context.cancel()
                flight.task.cancel()

    def _end(self, flight: _Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        done = flight.task
        if not done.cancelled():
            done.exception()  # told to whoever waits; nobody may be left
