"""Full queues, spent deadlines, and batches that lose a member: refusals are typed, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from interactvlm.client.errors import ServerError, from_call
from interactvlm.v1 import contact_service_pb2
from services.runtime.batching import BatchLimits
from tests.reliability.load import make_photo, request
from tests.reliability.processes import eventually
from tests.reliability.rooms import Build, Room
from tests.reliability.stub_stage import POISON

pytestmark = pytest.mark.asyncio(loop_scope="session")

StreamRequest = contact_service_pb2.PredictStreamRequest
Upload = contact_service_pb2.UploadMeshRequest

#: Long beside what a call takes otherwise, and what its caller does not wait for.
LONG, SHORT = 1.2, 0.4


async def until_idle(room: Room) -> None:
    await eventually(lambda: room.vlm.pending == 0 and room.mvloc.pending == 0, "both stages are idle")


async def until_started(room: Room, count: int) -> None:
    await eventually(lambda: room.vlm.counts["started"] >= count, "the language stage computes")


async def refusals(*calls: object) -> list[ServerError]:
    """What the calls that failed ended with."""
    results = await asyncio.gather(*calls, return_exceptions=True)  # type: ignore[call-overload]
    failed = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, grpc.aio.AioRpcError) for error in failed), failed
    return [told for error in failed if isinstance(told := from_call(error, ""), ServerError)]


async def test_a_full_stage_refuses_at_once_and_says_when(build_room: Build, photo: bytes) -> None:
    room = await build_room(vlm={"batch_seconds": 0.1, "batch": BatchLimits(max_items=1, max_pending_items=3)})
    failed = await refusals(*(room.contact.Predict(request(photo), timeout=30) for _ in range(24)))
    assert 0 < len(failed) < 24
    for error in failed:
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert (error.retry_after or 0) > 0
    await room.contact.Predict(request(photo), timeout=30)


async def test_a_full_orchestrator_refuses_at_once_and_says_when(build_room: Build, photo: bytes) -> None:
    room = await build_room(vlm={"batch_seconds": 0.3}, predict={"max_pending": 4})
    failed = await refusals(*(room.contact.Predict(request(photo), timeout=30) for _ in range(12)))
    assert 0 < len(failed) < 12
    for error in failed:
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert (error.retry_after or 0) > 0
    await room.contact.Predict(request(photo), timeout=30)


async def test_a_stream_waits_where_single_calls_are_refused(build_room: Build, photo: bytes) -> None:
    room = await build_room(vlm={"batch_seconds": 0.05, "batch": BatchLimits(max_items=1, max_pending_items=2)})

    async def items() -> AsyncIterator[StreamRequest]:
        for number in range(16):
            yield StreamRequest(item_id=str(number), request=request(photo))

    outcomes = [outcome async for outcome in room.contact.PredictStream(items(), timeout=60)]
    assert {outcome.WhichOneof("outcome") for outcome in outcomes} == {"response"}
    assert len(outcomes) == 16


async def test_one_cancelled_member_leaves_its_batch_alone(build_room: Build, photo: bytes) -> None:
    room = await build_room(vlm={"batch_seconds": 0.6})
    first = room.contact.Predict(request(photo), timeout=60)
    await until_started(room, 1)
    waiting = [room.contact.Predict(request(photo, objects=[{"name": f"o{i}"}]), timeout=60) for i in range(4)]
    await eventually(lambda: room.vlm.pending == 5, "the others wait")
    waiting[1].cancel()  # in the queue
    await first
    await until_started(room, 4)
    waiting[2].cancel()  # while the device computes
    await asyncio.gather(waiting[0], waiting[3])
    assert waiting[1].cancelled()
    assert waiting[2].cancelled()
    assert room.vlm.counts == {"started": 4, "expired_started": 0, "batches": 2, "largest_batch": 3}
    await until_idle(room)


async def test_a_poisonous_member_fails_alone(build_room: Build, photo: bytes) -> None:
    room = await build_room(vlm={"batch_seconds": 0.2})
    first = room.contact.Predict(request(photo), timeout=60)
    await until_started(room, 1)
    names = ["chair", POISON, "table", "mug"]
    failed = await refusals(
        first, *(room.contact.Predict(request(photo, objects=[{"name": name}]), timeout=60) for name in names)
    )
    assert [(error.code, error.reason) for error in failed] == [("INTERNAL", "INTERNAL")]
    assert room.vlm.counts["largest_batch"] == 4


async def expect_deadline(call: object) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_spent_on_arrival(build_room: Build, photo: bytes) -> None:
    room = await build_room()
    for seconds in (0.0, 0.001, 0.01):
        await expect_deadline(room.contact.Predict(request(photo), timeout=seconds))
    assert room.vlm.counts["started"] == 0


async def test_spent_in_the_language_stage(build_room: Build, photo: bytes) -> None:
    """While it is computed, and behind it in the queue; the second never starts, the other stage hears of neither."""
    room = await build_room(vlm={"batch_seconds": LONG, "batch": BatchLimits(max_items=1)})
    running = asyncio.ensure_future(expect_deadline(room.contact.Predict(request(photo), timeout=LONG * 0.7)))
    await until_started(room, 1)
    await expect_deadline(room.contact.Predict(request(photo), timeout=SHORT))
    await running
    await until_idle(room)
    assert room.vlm.counts["started"] == 1
    assert room.mvloc.counts["started"] == 0


async def test_spent_in_the_localization_stage(build_room: Build, photo: bytes) -> None:
    room = await build_room(mvloc={"batch_seconds": LONG, "batch": BatchLimits(max_items=1)})
    running = asyncio.ensure_future(room.contact.Predict(request(photo), timeout=60))
    await eventually(lambda: room.mvloc.counts["started"] == 1, "the localization stage computes")
    await expect_deadline(room.contact.Predict(request(photo), timeout=SHORT))
    await running
    await until_idle(room)
    assert room.mvloc.counts == {"started": 1, "expired_started": 0, "batches": 1, "largest_batch": 1}


async def test_spent_between_the_stages(build_room: Build, photo: bytes) -> None:
    """What the language stage leaves is too little for the next one, which knows what its work takes."""
    room = await build_room(mvloc={"batch_seconds": SHORT})
    for _ in range(5):
        await room.contact.Predict(request(photo), timeout=60)
    started = room.mvloc.counts["started"]
    await expect_deadline(room.contact.Predict(request(photo), timeout=SHORT * 0.8))
    assert room.mvloc.counts["started"] == started
    assert room.vlm.counts["expired_started"] == room.mvloc.counts["expired_started"] == 0


async def test_spent_waiting_for_room_for_the_photo(build_room: Build, photo: bytes) -> None:
    room = await build_room(vlm={"batch_seconds": LONG}, predict={"photo_memory_bytes": 1, "decoders": 1})
    first = asyncio.ensure_future(room.contact.Predict(request(photo), timeout=60))
    await until_started(room, 1)
    await expect_deadline(room.contact.Predict(request(photo), timeout=SHORT))
    await first
    room.vlm.batch_seconds = 0.0
    await room.contact.Predict(request(photo), timeout=60)
    assert room.vlm.counts["started"] == 2


async def test_spent_waiting_for_ones_own_repeat(build_room: Build, photo: bytes) -> None:
    """A repeat with less time gives up alone; the first one and a patient repeat share one answer."""
    room = await build_room(vlm={"batch_seconds": LONG})
    first = asyncio.ensure_future(room.contact.Predict(request(photo, request_id="once"), timeout=60))
    await until_started(room, 1)
    patient = asyncio.ensure_future(room.contact.Predict(request(photo, request_id="once"), timeout=50))
    await expect_deadline(room.contact.Predict(request(photo, request_id="once"), timeout=SHORT))
    answers = await asyncio.gather(first, patient)
    assert answers[0].results == answers[1].results
    assert room.vlm.counts["started"] == 1


async def test_spent_during_an_upload(build_room: Build, photo: bytes) -> None:
    """Uploads that stall give their place back: more of them than there are places, then one that works."""
    room = await build_room()

    async def stall() -> AsyncIterator[Upload]:
        yield Upload(file_type="obj", chunk=b"v 0 0 0\n")
        await asyncio.sleep(60)

    for _ in range(2):
        stalled = [expect_deadline(room.contact.UploadMesh(stall(), timeout=SHORT)) for _ in range(10)]
        await asyncio.gather(*stalled)
    chunk = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n"
    mesh = await room.contact.UploadMesh(iter([Upload(file_type="obj", chunk=chunk)]), timeout=60)
    assert mesh.vertex_count == 4


async def test_spent_in_a_stream(build_room: Build, photo: bytes) -> None:
    """An item's time ends that item, the call's time ends the call."""
    room = await build_room(vlm={"batch_seconds": LONG}, server={"default_deadline_seconds": SHORT})
    gate = asyncio.Event()

    async def items() -> AsyncIterator[StreamRequest]:
        yield StreamRequest(item_id="late", request=request(photo))
        await gate.wait()
        yield StreamRequest(item_id="quick", request=request(make_photo(1)))

    outcomes = {}
    async for outcome in room.contact.PredictStream(items(), timeout=60):
        outcomes[outcome.item_id] = outcome
        room.vlm.batch_seconds = 0.0
        await until_idle(room)
        gate.set()
    assert outcomes["late"].error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert outcomes["quick"].WhichOneof("outcome") == "response"

    async def endless() -> AsyncIterator[StreamRequest]:
        yield StreamRequest(item_id="one", request=request(photo))
        await asyncio.sleep(60)

    call = room.contact.PredictStream(endless(), timeout=SHORT)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until_idle(room)
    assert room.vlm.counts["expired_started"] == 0
