"""The same request_id gets the same answer without new work: per owner, for a while.

Only answers are kept, never failures: who repeats a failed request wants it tried again. Repeats that arrive while the
first is still in work wait for it (in this process; two processes at worst do the work twice and the first answer to be
stored is given to both).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from interactvlm.errors import CancelledError, DeadlineExceededError
from interactvlm.stages import CallContext
from services.runtime.errors import RequestIdReused
from services.runtime.metrics import CACHE_REQUESTS

__all__ = ["AnswerStore", "Replay"]

Work = Callable[[CallContext], Awaitable[bytes]]


class AnswerStore(Protocol):
    """Answers by owner and request id, for a while: in memory (`replay_memory.py`) or a file (`replay_file.py`)."""

    async def get(self, key: bytes, fingerprint: bytes) -> bytes | None:
        """The stored answer, None when there is none.

        Raises:
            RequestIdReused: the id was used for another request.
        """
        ...

    async def put(self, key: bytes, fingerprint: bytes, answer: bytes) -> bytes:
        """Store an answer; returns the one that counts, which is the first stored.

        Raises:
            RequestIdReused: another process stored an answer to another request under the id.
        """
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


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

    def __init__(self, store: AnswerStore) -> None:
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
            async with asyncio.timeout(context.remaining()):
                return await asyncio.shield(flight.task)
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
