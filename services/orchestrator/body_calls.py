"""LocateBody calls of concurrent photos made together: a call costs both sides about the same for one vector or twenty.

Nobody waits while nothing is under way: a photo's vectors go out at once. Those that come meanwhile go out together
when a call returns, or two milliseconds after the first of them came. Only like photos share a call (one owner,
checkpoint and priority, about as much time left), so what the call says of itself is true of every photo in it. Each
photo keeps its own end: one that leaves, or is late, leaves alone; the call is withdrawn when all have left; and where
one photo may be why a shared call failed, each is asked about alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.trace import Span

from interactvlm.errors import DeadlineExceededError, InteractVLMError
from interactvlm.pipeline import MAX_QUESTIONS
from interactvlm.stages import CallContext
from interactvlm.v1 import mvloc_service_pb2, mvloc_service_pb2_grpc
from services.orchestrator.calling import StageCaller
from services.orchestrator.replica import Replica
from services.runtime.calls import Call, Priority, maybe_current_call
from services.runtime.device import settle
from services.runtime.errors import DeadlineTooShort, ServiceError
from services.runtime.status import reason_of

__all__ = ["BodyCalls"]

_LONGEST_WAIT = 0.002
#: Largest answer of a shared call: its bytes are read in one piece, and every photo in it waits for all of them.
_ANSWER_BYTES = 2**20
_PROBABILITY_BYTES = 4
#: What a single photo can cause. Anything else (a stage out of reach, full, late) would befall each of them again.
_ONE_PHOTOS_FAULT = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "INTERNAL", "UNKNOWN"})

Queries = Sequence[mvloc_service_pb2.ContactQuery]
Contacts = Sequence[mvloc_service_pb2.VertexContact]


class _Likeness(NamedTuple):
    """What the photos of one call have in common."""

    checkpoint: str
    view_logits: bool
    owner: str
    priority: Priority
    time_left: int | None
    """log2 of the seconds left: the stage orders its work by the call's deadline, the latest of its photos'."""


@dataclass(slots=True, eq=False)
class _Photo:
    """One photo's vectors and who waits for their contact."""

    queries: Queries
    context: CallContext
    answer: asyncio.Future[Contacts]
    variables: contextvars.Context = field(default_factory=contextvars.copy_context)
    span: Span = field(default_factory=trace.get_current_span)
    shared: _Shared | None = None


@dataclass(slots=True, eq=False)
class _Shared:
    """A call under way."""

    photos: list[_Photo]
    context: CallContext
    task: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class _Queue:
    """Like photos."""

    likeness: _Likeness
    limit: int
    waiting: list[_Photo] = field(default_factory=list)
    calls: int = 0
    timer: asyncio.TimerHandle | None = None

    @property
    def full(self) -> bool:
        """Whether what waits fills a call."""
        return sum(len(photo.queries) for photo in self.waiting) >= self.limit

    def take(self) -> list[_Photo]:
        """The longest waiting photos that fit into one call; one that is larger goes alone."""
        count = size = 0
        for photo in self.waiting:
            size += len(photo.queries)
            if count and size > self.limit:
                break
            count += 1
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


class BodyCalls:
    """Calls of LocateBody.

    Args:
        caller: calls to mvloc; replicas, retries and hedges are its business, for a shared call as for any other.
    """

    def __init__(self, caller: StageCaller) -> None:
        self._caller = caller
        self._queues: dict[_Likeness, _Queue] = {}

    async def locate(
        self, queries: Queries, *, checkpoint: str, vertex_count: int, view_logits: bool, context: CallContext
    ) -> Contacts:
        """Contact on a checkpoint's body, one entry a query, in order.

        Args:
            queries: of one photo, at least one.
            checkpoint: sha256 of the checkpoint that the embeddings came from.
            vertex_count: of its body; bounds how many share a call.
            view_logits: ask for the masks of the views, too; they are so large that such a photo's call is its own.
            context: the photo's deadline.

        Raises:
            InteractVLMError: what the stage answered, or that it could not be reached in time.
        """
        context.check()
        limit = 1 if view_logits else min(MAX_QUESTIONS, max(1, _ANSWER_BYTES // (_PROBABILITY_BYTES * vertex_count)))
        likeness = _likeness(checkpoint, view_logits, context, maybe_current_call())
        queue = self._queues.get(likeness)
        if queue is None:
            queue = self._queues[likeness] = _Queue(likeness, limit)
        loop = asyncio.get_running_loop()
        photo = _Photo(queries, context, loop.create_future())
        queue.waiting.append(photo)
        if not queue.calls or queue.full:
            self._send(queue)
        elif queue.timer is None:
            queue.timer = loop.call_later(_LONGEST_WAIT, self._send, queue)
        try:
            async with asyncio.timeout(context.remaining()):
                return await photo.answer
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed before a stage answered") from None
        finally:
            _leave(queue, photo)

    def _send(self, queue: _Queue) -> None:
        """Make calls of all that waits."""
        if queue.timer is not None:
            queue.timer.cancel()
            queue.timer = None
        queue.waiting = [photo for photo in queue.waiting if not photo.answer.done()]  # some may be about to leave
        while queue.waiting:
            self._begin(queue, queue.take())

    def _begin(self, queue: _Queue, photos: list[_Photo]) -> None:
        deadlines = [photo.context.deadline for photo in photos]
        latest = max((deadline for deadline in deadlines if deadline is not None), default=None)
        shared = _Shared(photos, CallContext(None if None in deadlines else latest))
        first, *others = photos
        for photo in photos:
            photo.shared = shared
        for photo in others:  # the call travels under the first photo's request id and trace
            if photo.span.is_recording():
                photo.span.add_link(first.span.get_span_context())
        queue.calls += 1
        work = self._answer(queue, shared)
        shared.task = asyncio.get_running_loop().create_task(work, context=first.variables)
        shared.task.add_done_callback(lambda _: self._ended(queue))

    async def _answer(self, queue: _Queue, shared: _Shared) -> None:
        try:
            found = iter(await self._call(queue.likeness, shared))
            for photo in shared.photos:
                settle(photo.answer, [next(found) for _ in photo.queries])
        except asyncio.CancelledError:
            for photo in shared.photos:
                photo.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            waiting = [photo for photo in shared.photos if not photo.answer.done()]
            if len(shared.photos) > 1 and _may_be_one_photos(error):
                for photo in waiting:
                    self._begin(queue, [photo])
            else:
                for photo in waiting:
                    settle(photo.answer, error)

    def _ended(self, queue: _Queue) -> None:
        queue.calls -= 1
        self._send(queue)
        if not queue.calls:
            self._queues.pop(queue.likeness, None)

    async def _call(self, likeness: _Likeness, shared: _Shared) -> Contacts:
        request = mvloc_service_pb2.LocateBodyRequest(
            queries=[query for photo in shared.photos for query in photo.queries],
            checkpoint_sha256=likeness.checkpoint,
            include_view_logits=likeness.view_logits,
        )

        async def attempt(replica: Replica) -> mvloc_service_pb2.LocateResponse:
            stub = replica.stub(mvloc_service_pb2_grpc.MvlocServiceStub)
            return await stub.LocateBody(request, timeout=shared.context.remaining())

        response = await self._caller.call(
            attempt, method="LocateBody", context=shared.context, checkpoint=likeness.checkpoint
        )
        if len(response.contacts) != len(request.queries):
            raise ServiceError(
                f"the localization stage placed {len(response.contacts)} of {len(request.queries)} embeddings"
            )
        return response.contacts


def _likeness(checkpoint: str, view_logits: bool, context: CallContext, call: Call | None) -> _Likeness:
    remaining = context.remaining()
    time_left = None if remaining is None else math.frexp(max(remaining, 0.0))[1]
    owner, priority = ("", Priority.INTERACTIVE) if call is None else (call.owner, call.priority)
    return _Likeness(checkpoint, view_logits, owner, priority, time_left)


def _leave(queue: _Queue, photo: _Photo) -> None:
    """Forget a photo that nobody waits for any more; a call without any is withdrawn."""
    if photo.answer.done():
        if not photo.answer.cancelled():
            photo.answer.exception()  # seen, or left in the moment in which it came
    else:
        photo.answer.cancel()
    if photo in queue.waiting:
        queue.waiting.remove(photo)
    shared = photo.shared
    if shared is not None and shared.task is not None and all(one.answer.cancelled() for one in shared.photos):
        shared.context.cancel()
        shared.task.cancel()


def _may_be_one_photos(error: Exception) -> bool:
    """Whether a single photo can be why a shared call failed: its vectors, or a time too short for all the others."""
    if not isinstance(error, InteractVLMError):
        return True
    return error.grpc_code in _ONE_PHOTOS_FAULT or reason_of(error) == DeadlineTooShort.reason
