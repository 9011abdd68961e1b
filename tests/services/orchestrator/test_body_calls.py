from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from interactvlm.errors import CancelledError, DeadlineExceededError, InputError, InteractVLMError
from interactvlm.stages import CallContext
from interactvlm.types import ModelIdentity, VertexContact
from interactvlm.v1 import contact_service_pb2, mvloc_service_pb2, types_pb2
from interactvlm.wire import encode_contact, encode_contact_query, encode_identity
from services.orchestrator.body_calls import BodyCalls
from services.runtime.calls import Call, Priority, current_call, use_call
from services.runtime.errors import DeadlineTooShort, QueueFull, ServiceError, StageUnavailable

CHECKPOINT = "a" * 64
POISON = 13.0


class Mvloc:
    """A replica: it places the vector of value v as the probability v / 100, when it is let."""

    def __init__(self) -> None:
        self.requests: list[list[float]] = []
        self.timeouts: list[float | None] = []
        self.calls: list[Call | None] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Callable[[Sequence[float]], Exception | None] = lambda values: None
        self.lost = 0
        self.withdrawn = 0

    def stub(self, kind: Any) -> Mvloc:
        return self

    async def LocateBody(
        self, request: mvloc_service_pb2.LocateBodyRequest, *, timeout: float | None
    ) -> mvloc_service_pb2.LocateResponse:
        values = [float(np.frombuffer(query.embedding.data, "<f4")[0]) for query in request.queries]
        self.requests.append(values)
        self.timeouts.append(timeout)
        self.calls.append(current_call())
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise
        if (error := self.fault(values)) is not None:
            raise error
        placed = [encode_contact(VertexContact(np.full(3, value / 100, np.float32))) for value in values]
        return mvloc_service_pb2.LocateResponse(
            contacts=placed[: len(placed) - self.lost], model=encode_identity(ModelIdentity("fake", CHECKPOINT))
        )


class Caller:
    """A StageCaller with one replica; faults are raised as it raises them."""

    def __init__(self, mvloc: Mvloc) -> None:
        self._mvloc = mvloc

    async def call(self, attempt: Any, *, method: str, context: CallContext, checkpoint: str) -> Any:
        assert method == "LocateBody"
        assert checkpoint == CHECKPOINT
        return await attempt(self._mvloc)


class House:
    def __init__(self) -> None:
        self.mvloc = Mvloc()
        self.bodies = BodyCalls(Caller(self.mvloc))

    async def locate(
        self,
        *values: float,
        call: Call | None = None,
        vertex_count: int = 3,
        view_logits: bool = False,
        context: CallContext | None = None,
    ) -> list[float]:
        """What a photo with vectors of these values gets, times 100."""
        with use_call(call or Call()):
            contacts = await self.bodies.locate(
                [encode_contact_query(np.full(4, value, np.float32), "[HCON]") for value in values],
                checkpoint=CHECKPOINT,
                vertex_count=vertex_count,
                view_logits=view_logits,
                context=context or CallContext(),
            )
        return [round(100 * float(np.frombuffer(one.probabilities.data, "<f4")[0])) for one in contacts]

    def begin(self, *values: float, **options: Any) -> asyncio.Task[list[float]]:
        return asyncio.create_task(self.locate(*values, **options))


@pytest.fixture
def house() -> House:
    return House()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_photo_that_is_alone_goes_out_at_once(house: House) -> None:
    assert await house.locate(1) == [1]
    assert await house.locate(2, 3) == [2, 3]
    assert house.mvloc.requests == [[1], [2, 3]]
    await until(lambda: not house.bodies._queues)  # nothing is kept of what has ended


async def test_photos_that_come_meanwhile_go_out_together_and_each_gets_its_own(house: House) -> None:
    found = await asyncio.gather(house.locate(1), house.locate(2, 3), house.locate(4), house.locate(5, 6, 7))
    assert found == [[1], [2, 3], [4], [5, 6, 7]]
    assert house.mvloc.requests == [[1], [2, 3, 4, 5, 6, 7]]
    await until(lambda: not house.bodies._queues)


async def test_nobody_waits_for_a_call_that_does_not_return(house: House) -> None:
    house.mvloc.open.clear()
    photos = [house.begin(value) for value in (1, 2, 3)]
    await until(lambda: len(house.mvloc.requests) == 2)
    assert house.mvloc.requests == [[1], [2, 3]]
    house.mvloc.open.set()
    assert await asyncio.gather(*photos) == [[1], [2], [3]]


async def test_an_answer_is_bounded(house: House) -> None:
    quarter = 2**20 // 4 // 4
    found = await asyncio.gather(*(house.locate(value, vertex_count=quarter) for value in range(7)))
    assert found == [[value] for value in range(7)]
    assert [len(values) for values in house.mvloc.requests] == [1, 4, 2]
    house.mvloc.requests.clear()
    many = range(40)
    assert await asyncio.gather(house.locate(*many), house.locate(*many), house.locate(*many)) == [list(many)] * 3
    assert [len(values) for values in house.mvloc.requests] == [40, 40, 40]
    house.mvloc.requests.clear()
    assert await house.locate(*range(9), vertex_count=2**20) == list(range(9))  # a photo is never cut
    assert len(house.mvloc.requests) == 1


async def test_masks_make_a_call_of_their_own(house: House) -> None:
    await asyncio.gather(*(house.locate(value, view_logits=True) for value in range(4)))
    assert [len(values) for values in house.mvloc.requests] == [1, 1, 1, 1]


async def test_only_like_photos_share_a_call(house: House) -> None:
    house.mvloc.open.clear()
    alice, bob = Call(owner="alice"), Call(owner="bob")
    patient = Call(owner="alice", priority=Priority.BATCH)
    photos = [
        house.begin(1, call=alice),
        house.begin(2, call=bob),
        house.begin(3, call=patient),
        house.begin(4, call=alice, context=CallContext.within(30)),
        house.begin(5, call=alice, context=CallContext.within(3)),
    ]
    await until(lambda: len(house.mvloc.requests) == 5)  # each is the first of its kind: none has waited
    assert [call.owner for call in house.mvloc.calls if call] == ["alice", "bob", "alice", "alice", "alice"]
    assert house.mvloc.calls[2] is patient
    house.mvloc.open.set()
    assert await asyncio.gather(*photos) == [[1], [2], [3], [4], [5]]


async def test_a_late_photo_gives_up_alone(house: House) -> None:
    house.mvloc.open.clear()
    first, short, long = (
        house.begin(value, context=CallContext.within(seconds)) for value, seconds in ((1, 1.2), (2, 1.2), (3, 1.95))
    )
    await until(lambda: len(house.mvloc.requests) == 2)
    assert house.mvloc.requests[1] == [2, 3]
    own, shared = house.mvloc.timeouts
    assert own is not None
    assert shared is not None
    assert own < shared  # the latest of its photos'
    for photo in (first, short):
        with pytest.raises(DeadlineExceededError):
            await photo
    assert house.mvloc.withdrawn == 1  # the first's call, in which nobody else was
    house.mvloc.open.set()
    assert await long == [3]


async def test_no_deadline_is_the_latest(house: House) -> None:
    await asyncio.gather(house.locate(1), house.locate(2))
    assert house.mvloc.timeouts == [None, None]


async def test_an_expired_or_withdrawn_photo_never_goes_out(house: House) -> None:
    gone = CallContext()
    gone.cancel()
    with pytest.raises(CancelledError):
        await house.locate(1, context=gone)
    with pytest.raises(DeadlineExceededError):
        await house.locate(1, context=CallContext.within(0.0))
    assert not house.mvloc.requests


async def test_one_that_leaves_harms_nobody(house: House) -> None:
    house.mvloc.open.clear()
    first, leaves, stays = (house.begin(value) for value in (1, 2, 3))
    await until(lambda: len(house.mvloc.requests) == 2)
    leaves.cancel()
    first.cancel()  # the call travels under its name, yet only its own is withdrawn
    await until(lambda: house.mvloc.withdrawn == 1)
    house.mvloc.open.set()
    assert await stays == [3]
    assert leaves.cancelled()
    assert first.cancelled()


async def test_a_call_without_photos_is_withdrawn(house: House) -> None:
    house.mvloc.open.clear()
    photos = [house.begin(value) for value in (1, 2, 3)]
    await until(lambda: len(house.mvloc.requests) == 2)
    for photo in photos:
        photo.cancel()
    await until(lambda: house.mvloc.withdrawn == 2)
    await until(lambda: not house.bodies._queues)
    assert all(photo.cancelled() for photo in photos)


async def test_one_that_leaves_while_it_waits_is_not_asked_about(house: House) -> None:
    house.mvloc.open.clear()
    first, leaves, stays = (house.begin(value) for value in (1, 2, 3))
    await asyncio.sleep(0)
    leaves.cancel()
    await until(lambda: len(house.mvloc.requests) == 2)
    assert house.mvloc.requests == [[1], [3]]
    house.mvloc.open.set()
    assert await asyncio.gather(first, stays) == [[1], [3]]


async def test_one_that_leaves_in_the_moment_of_sending_is_not_asked_about(house: House) -> None:
    house.mvloc.open.clear()
    first, leaves = house.begin(1), house.begin(2)
    await asyncio.sleep(0)
    leaves.cancel()
    house.bodies._send(next(iter(house.bodies._queues.values())))  # as the timer does
    house.mvloc.open.set()
    assert await first == [1]
    await until(lambda: not house.bodies._queues)
    assert house.mvloc.requests == [[1]]


@pytest.mark.parametrize(
    "error",
    [
        InputError("queries[1]", "is poisonous"),
        ServiceError("the stage stumbled over it"),
        DeadlineTooShort("deadline: too little is left"),
        ValueError("not even an error of ours"),
    ],
)
async def test_only_the_guilty_photo_fails(house: House, error: Exception) -> None:
    house.mvloc.fault = lambda values: error if POISON in values else None
    values = [1.0, 2.0, POISON, 4.0]
    found = await asyncio.gather(*(house.locate(value) for value in values), return_exceptions=True)
    assert found == [[1], [2], error, [4]]
    assert house.mvloc.requests == [[1], [2, POISON, 4], [2], [POISON], [4]]
    await until(lambda: not house.bodies._queues)


async def test_a_damaged_answer_is_asked_for_again_alone(house: House) -> None:
    house.mvloc.lost = 1
    found = await asyncio.gather(*(house.locate(value) for value in (1, 2, 3)), return_exceptions=True)
    assert all(isinstance(one, ServiceError) for one in found)
    assert house.mvloc.requests == [[1], [2, 3], [2], [3]]


@pytest.mark.parametrize(
    "error",
    [
        QueueFull("queue: full", retry_after=1.0),
        StageUnavailable("no replica"),
        DeadlineExceededError("too late"),
    ],
)
async def test_what_would_befall_each_is_not_repeated(house: House, error: InteractVLMError) -> None:
    house.mvloc.fault = lambda values: error
    found = await asyncio.gather(*(house.locate(value) for value in (1, 2, 3)), return_exceptions=True)
    assert found == [error, error, error]
    assert house.mvloc.requests == [[1], [2, 3]]


async def test_each_photos_trace_leads_to_the_call_it_shared(house: House) -> None:
    tracer = TracerProvider().get_tracer("test")
    spans: dict[float, Any] = {}

    async def traced(value: float) -> list[float]:
        with tracer.start_as_current_span(f"photo {value}") as span:
            spans[value] = span
            return await house.locate(value)

    house.mvloc.open.clear()
    photos = [asyncio.create_task(traced(value)) for value in (1, 2, 3)]
    await until(lambda: len(house.mvloc.requests) == 2)
    house.mvloc.open.set()
    await asyncio.gather(*photos)
    assert not spans[1].links
    assert not spans[2].links
    (link,) = spans[3].links
    assert link.context == spans[2].get_span_context()
    assert not trace.get_current_span().get_span_context().is_valid


async def test_photos_share_calls_through_the_whole_house(build_house: Any, png: bytes) -> None:
    whole = await build_house(mvloc=2)
    for stage in whole.mvloc:
        stage.delay = 0.02
    request = contact_service_pb2.PredictRequest(photo=png, person=types_pb2.PersonSelector(whole_photo=True))
    answers = await asyncio.gather(*(whole.contact.Predict(request, timeout=30) for _ in range(24)))
    assert all(answer.results[0].contact.vertex_ids == answers[0].results[0].contact.vertex_ids for answer in answers)
    assert sum(stage.calls["LocateBody"] for stage in whole.mvloc) < 24


async def test_a_shared_call_moves_to_another_replica(build_house: Any, png: bytes) -> None:
    whole = await build_house(mvloc=2)
    for stage in whole.mvloc:
        stage.delay = 0.2
    request = contact_service_pb2.PredictRequest(photo=png, person=types_pb2.PersonSelector(whole_photo=True))
    calls = [whole.contact.Predict(request, timeout=30) for _ in range(8)]
    await until(lambda: all(stage.running for stage in whole.mvloc))
    await whole.servers[whole.mvloc[0]].stop(grace=0)
    answers = await asyncio.gather(*calls)
    assert all(len(answer.results) == 1 and not answer.results[0].HasField("error") for answer in answers)


async def test_the_stage_refuses_a_shared_call_with_its_own_reason(build_house: Any, png: bytes) -> None:
    whole = await build_house()
    whole.mvloc[0].error = QueueFull("queue: full", retry_after=1.0)
    request = contact_service_pb2.PredictRequest(photo=png, person=types_pb2.PersonSelector(whole_photo=True))
    calls = [whole.contact.Predict(request, timeout=30) for _ in range(4)]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
