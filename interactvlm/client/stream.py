"""Many photos over one stream: bounded in flight, answers as they come, taken up again where a connection broke.

An item counts as outstanding from the moment it is read from the caller's source until the caller takes its outcome.
At most `limit` items are outstanding, so a slow caller, a slow server and a fast source all cost the same memory.

When the connection breaks (a server restarts, a proxy gives up), a new stream gets the items without an outcome, under
their old request ids: what the server had finished it answers from its memory. Attempts without any answer are counted:
a stream that never worked ends with an error soon, one that did waits long enough for a server to restart.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from interactvlm.client.errors import ServerUnavailableError, from_call, hides_status
from interactvlm.client.requests import Outcome, decode_outcome
from interactvlm.errors import InteractVLMError
from interactvlm.v1 import contact_service_pb2

__all__ = ["PredictionStream"]

Request = contact_service_pb2.PredictStreamRequest
Call = aio.StreamStreamCall[Request, contact_service_pb2.PredictStreamResponse]

_LIMIT_KEY = "interactvlm-max-in-flight"
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_HEADERS_SECONDS = 5.0
#: Attempts in a row without an answer: before the first answer ever, and after it (about half a minute).
_FIRST_ATTEMPTS, _LATER_ATTEMPTS = 5, 20
#: A server that ends, or is gone; CANCELLED meets a call that arrives in the moment in which the server begins to end.
_GOING_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_FIRST_DELAY = 0.1
_MAX_DELAY = 2.0


class PredictionStream:
    """One run over a source of items.

    Args:
        open_call: starts a `PredictStream` call.
        source: items as (item id, coroutine function that makes its message); read one at a time.
        limit: items outstanding at most; lowered to what the server announces.
        target: the server's name, for errors.
    """

    def __init__(
        self,
        open_call: Callable[[], Call],
        source: AsyncIterator[tuple[str, Callable[[], Awaitable[Request]]]],
        *,
        limit: int,
        target: str,
    ) -> None:
        self._open_call = open_call
        self._source = source
        self._limit = limit
        self._target = target
        self._outstanding: set[str] = set()  # read, outcome not yet taken by the caller
        self._unanswered: dict[str, Request] = {}  # to be sent again when the connection breaks
        self._unsent: asyncio.Queue[str | None] = asyncio.Queue()  # None: the source has ended
        self._outcomes: asyncio.Queue[Outcome | BaseException | None] = asyncio.Queue()  # None: all is said
        self._room = asyncio.Event()
        self._due = asyncio.Event()
        self._greeted = asyncio.Event()  # the server's limit is known, or it tells none
        self._exhausted = False
        self._patience = _FIRST_ATTEMPTS

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Outcomes in the order in which they arrive; leaving early cancels what is under way.

        Raises:
            ServerError: the stream itself failed.
        """
        tasks = [asyncio.create_task(self._guard(part())) for part in (self._read_source, self._keep_calling)]
        try:
            while (outcome := await self._outcomes.get()) is not None:
                if isinstance(outcome, BaseException):
                    raise outcome
                self._outstanding.discard(outcome.item_id)
                self._room.set()
                yield outcome
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _guard(self, part: Awaitable[None]) -> None:
        """What ends a part ends the stream."""
        try:
            await part
        except Exception as error:  # noqa: BLE001 - the caller's source may raise anything; it is raised at the caller
            self._outcomes.put_nowait(error)

    async def _read_source(self) -> None:
        async for item_id, make in self._source:
            if item_id in self._outstanding:
                raise ValueError(f"two items in flight are called {item_id!r}")
            self._outstanding.add(item_id)
            try:
                self._unanswered[item_id] = await make()
            except InteractVLMError as error:  # a bad photo ends nothing
                self._outcomes.put_nowait(Outcome(item_id, error=error))
            else:
                self._unsent.put_nowait(item_id)
                self._due.set()
                await self._greeted.wait()
            while len(self._outstanding) >= self._limit:
                self._room.clear()
                await self._room.wait()
        self._exhausted = True
        self._unsent.put_nowait(None)
        self._due.set()

    async def _keep_calling(self) -> None:
        failures = 0
        while await self._anything_due():
            answered, error = 0, None
            call = self._open_call()
            heeding = asyncio.create_task(self._heed_limit(call))
            helpers = [heeding, asyncio.create_task(self._write(call, heeding))]
            try:
                async for response in call:
                    if self._unanswered.pop(response.item_id, None) is not None:
                        answered += 1
                        self._outcomes.put_nowait(_outcome(response))
            except aio.AioRpcError as caught:
                error = caught
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
                call.cancel()
                self._greeted.set()  # a call that ended before its headers holds the source up no longer
            if not self._unanswered:
                continue  # whatever ended the call, nothing was lost with it
            failures = 0 if answered else failures + 1
            self._patience = _LATER_ATTEMPTS if answered else self._patience
            await asyncio.sleep(self._pause(error, failures))
            self._rewind()
        self._outcomes.put_nowait(None)

    async def _anything_due(self) -> bool:
        """Wait for the next item; False when there will be none."""
        while not self._unanswered and not self._exhausted:
            self._due.clear()
            await self._due.wait()
        return bool(self._unanswered)

    def _pause(self, error: aio.AioRpcError | None, failures: int) -> float:
        """Seconds until the next attempt; raises when there shall be none. No error: the server ended in good order."""
        pushback = _pushback(error) if error is not None else None
        # If the server meant something lasting that a write has hidden, the next attempt brings it to light.
        lasting = error is not None and error.code() not in _GOING_AWAY and not hides_status(error)
        if lasting or failures >= self._patience or (pushback is not None and pushback < 0):
            if error is None or hides_status(error):
                raise ServerUnavailableError(f"{self._target} ends every stream without answers", code="UNAVAILABLE")
            raise from_call(error, self._target)
        if pushback is not None:
            return pushback
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return jitter * min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** max(0, failures - 1))

    async def _write(self, call: Call, heeding: asyncio.Task[None]) -> None:
        """Send items as they become ready; whatever stops it is told by the reading side."""
        try:
            # The server's headers tell its limit, or the call is refused: both better known before a photo is sent.
            await asyncio.wait({heeding}, timeout=_HEADERS_SECONDS)
            self._greeted.set()
            while (item_id := await self._unsent.get()) is not None:
                await call.write(self._unanswered[item_id])
            await call.done_writing()
        except (aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            return

    async def _heed_limit(self, call: Call) -> None:
        """The server's own bound, which it sends with its first headers."""
        metadata: Any = await call.initial_metadata()
        announced = str((metadata or {}).get(_LIMIT_KEY, ""))
        if announced.isdecimal() and int(announced) > 0:
            self._limit = min(self._limit, int(announced))

    def _rewind(self) -> None:
        """Everything unanswered becomes unsent, in its old order."""
        self._unsent = asyncio.Queue()
        for item_id in self._unanswered:
            self._unsent.put_nowait(item_id)
        if self._exhausted:
            self._unsent.put_nowait(None)


def _outcome(response: contact_service_pb2.PredictStreamResponse) -> Outcome:
    try:
        return decode_outcome(response)
    except InteractVLMError as error:
        return Outcome(response.item_id, error=error)


def _pushback(error: aio.AioRpcError) -> float | None:
    """Seconds the server wants to be left alone; negative: for good."""
    value: Any = (error.trailing_metadata() or {}).get(_PUSHBACK_KEY)
    try:
        return None if value is None else int(value) / 1000
    except ValueError:
        return -1.0  # gRFC A6: what cannot be read means no
