"""Many photos over one stream: bounded in flight, answered in any order, errors per item.

A place in the stream is taken before the next item is read and given back when its outcome has been handed to gRPC. So
a slow stage, a full stage and a client that does not read all end in the same thing: the server stops reading, and
HTTP/2's flow control holds the client back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
from google.rpc import status_pb2

from interactvlm.errors import InputError, InteractVLMError
from interactvlm.stages import CallContext
from interactvlm.v1 import contact_service_pb2
from services.orchestrator.prediction import Predictor
from services.runtime.calls import Call
from services.runtime.errors import Draining, QuotaExceeded, ServiceError
from services.runtime.status import to_status

__all__ = ["PredictionStream"]

Request = contact_service_pb2.PredictStreamRequest
Response = contact_service_pb2.PredictStreamResponse

_log = logging.getLogger(__name__)
_MAX_ITEM_ID = 128
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 2.0


class PredictionStream:
    """One PredictStream call.

    Args:
        predictor: answers the items.
        call: the call; its deadline holds for all items.
        max_in_flight: items read whose outcome was not yet sent.
        item_seconds: time one item may take; 0 for as long as the call.
        max_wait_seconds: how long an item waits for a stage that is full.
    """

    def __init__(
        self, predictor: Predictor, call: Call, *, max_in_flight: int, item_seconds: float, max_wait_seconds: float
    ) -> None:
        self._predictor = predictor
        self._call = call
        self._item_seconds = item_seconds
        self._max_wait_seconds = max_wait_seconds
        self._places = asyncio.Semaphore(max_in_flight)
        self._outcomes: asyncio.Queue[Response | None] = asyncio.Queue()
        self._working: dict[str, asyncio.Task[None]] = {}
        self._contexts: set[CallContext] = set()
        self._cut_short = False

    async def outcomes(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Response, None]:
        """Outcomes of the items as they come, until the client has sent all of them.

        Raises:
            Draining: the server goes away; what was read is answered, the rest is to be sent to another one.
        """
        reading = asyncio.create_task(self._read_until_draining(requests))
        try:
            while (outcome := await self._outcomes.get()) is not None:
                yield outcome
                self._places.release()
            await reading  # raises what went wrong there
        finally:
            for context in self._contexts:
                context.cancel()
            tasks = [reading, *self._working.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._cut_short:
            raise Draining("the server is shutting down; send the items without an answer on a new stream")

    async def _read_until_draining(self, requests: AsyncIterator[Request]) -> None:
        reading = asyncio.create_task(self._read(requests))
        draining = asyncio.create_task(self._call.draining.wait())
        try:
            await asyncio.wait({reading, draining}, return_when=asyncio.FIRST_COMPLETED)
            self._cut_short = not reading.done()
            if reading.done():
                reading.result()
        finally:
            for task in (reading, draining):
                task.cancel()
            await asyncio.gather(reading, draining, return_exceptions=True)
            await asyncio.gather(*self._working.values(), return_exceptions=True)
            self._outcomes.put_nowait(None)

    async def _read(self, requests: AsyncIterator[Request]) -> None:
        items = aiter(requests)
        while True:
            await self._places.acquire()
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            try:
                self._check(item)
            except InputError as error:
                self._outcomes.put_nowait(Response(item_id=item.item_id[:_MAX_ITEM_ID], error=self._status(error)))
                continue
            task = asyncio.create_task(self._work(item))
            self._working[item.item_id] = task

    def _check(self, item: Request) -> None:
        if not 0 < len(item.item_id) <= _MAX_ITEM_ID:
            raise InputError("item_id", f"has {len(item.item_id)} characters; it must have 1 to {_MAX_ITEM_ID}")
        if item.item_id in self._working:
            raise InputError("item_id", "is that of another item in flight")

    async def _work(self, item: Request) -> None:
        context = self._item_context()
        self._contexts.add(context)
        response = Response(item_id=item.item_id)
        try:
            response.response.CopyFrom(await self._patiently(item.request, context))
        except Exception as error:  # noqa: BLE001 - whatever becomes of an item is its own affair
            if not isinstance(error, InteractVLMError):
                _log.error("an item of a stream failed unexpectedly", exc_info=error)
            response.error.CopyFrom(self._status(error))
        finally:
            self._contexts.discard(context)
            self._working.pop(item.item_id, None)
        self._outcomes.put_nowait(response)

    async def _patiently(
        self, request: contact_service_pb2.PredictRequest, context: CallContext
    ) -> contact_service_pb2.PredictResponse:
        """The answer, after waiting where a stage is full: the stream is bounded, so waiting cannot pile up."""
        give_up = time.monotonic() + self._max_wait_seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._predictor.predict(request, owner=self._call.owner, context=context)
            except ServiceError as error:
                full = error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and error.reason != QuotaExceeded.reason
                wait = max(error.retry_after or 0.0, pause)
                if not full or time.monotonic() + wait > give_up:
                    raise
            await asyncio.sleep(wait)
            context.check()
            pause = min(2 * pause, _LAST_PAUSE)

    def _item_context(self) -> CallContext:
        mine = time.monotonic() + self._item_seconds if self._item_seconds else None
        deadlines = [deadline for deadline in (mine, self._call.context.deadline) if deadline is not None]
        return CallContext(min(deadlines, default=None))

    def _status(self, error: Exception) -> status_pb2.Status:
        return to_status(error, request_id=self._call.request_id)
