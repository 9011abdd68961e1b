from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from interactvlm.v1 import contact_service_pb2, types_pb2
from services.orchestrator.config import PredictConfig
from services.runtime.errors import QueueFull

WHOLE = types_pb2.PersonSelector(whole_photo=True)


def item(item_id: str, photo: bytes, **more: object) -> contact_service_pb2.PredictStreamRequest:
    request = contact_service_pb2.PredictRequest(photo=photo, person=WHOLE, **more)
    return contact_service_pb2.PredictStreamRequest(item_id=item_id, request=request)


def reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info.reason


async def test_answers_carry_their_ids_and_errors_are_per_item(build_house, png: bytes) -> None:
    house = await build_house()
    items = [item("good", png), item("bad", b"no photo"), item("", png), item("last", png)]
    outcomes = {outcome.item_id: outcome async for outcome in house.contact.PredictStream(iter(items))}
    assert set(outcomes) == {"good", "bad", "", "last"}
    assert outcomes["good"].response.results[0].vertex_count == 4
    assert outcomes["last"].WhichOneof("outcome") == "response"
    assert reason(outcomes["bad"].error) == "PHOTO_INVALID"
    assert reason(outcomes[""].error) == "INPUT_INVALID"


async def test_answers_may_overtake_one_another(build_house, png: bytes) -> None:
    house = await build_house()
    house.vlm[0].delay = 0.3
    items = [item("slow", png), item("refused", b"no photo")]
    order = [outcome.item_id async for outcome in house.contact.PredictStream(iter(items))]
    assert order == ["refused", "slow"]


async def test_the_bound_is_stated_and_kept(build_house, png: bytes) -> None:
    house = await build_house(predict=PredictConfig(max_in_flight=3))
    house.vlm[0].delay = 0.02
    call = house.contact.PredictStream(iter([item(str(i), png) for i in range(24)]))
    assert dict(await call.initial_metadata())["interactvlm-max-in-flight"] == "3"
    assert len({outcome.item_id async for outcome in call}) == 24
    assert house.vlm[0].most_running == 3


async def test_an_item_waits_where_a_stage_is_full(build_house, png: bytes) -> None:
    house = await build_house()
    house.vlm[0].error = QueueFull("full", retry_after=0.05)
    call = house.contact.PredictStream(iter([item("patient", png)]))
    while house.vlm[0].calls["Answer"] < 2:
        await asyncio.sleep(0.01)
    house.vlm[0].error = None
    (outcome,) = [outcome async for outcome in call]
    assert outcome.WhichOneof("outcome") == "response"


async def test_an_item_does_not_wait_for_ever(build_house, png: bytes) -> None:
    house = await build_house(predict=PredictConfig(max_wait_seconds=0.1))
    house.vlm[0].error = QueueFull("full", retry_after=0.06)
    (outcome,) = [outcome async for outcome in house.contact.PredictStream(iter([item("patient", png)]))]
    assert reason(outcome.error) == "QUEUE_FULL"


async def test_the_same_id_twice_in_flight_is_refused(build_house, png: bytes) -> None:
    house = await build_house()
    house.vlm[0].delay = 0.2
    outcomes = [o async for o in house.contact.PredictStream(iter([item("one", png), item("one", png)]))]
    assert sorted(str(outcome.WhichOneof("outcome")) for outcome in outcomes) == ["error", "response"]


async def test_a_client_that_leaves_takes_its_work_along(build_house, png: bytes) -> None:
    house = await build_house()
    house.vlm[0].delay = 30.0
    call = house.contact.PredictStream(iter([item(str(i), png) for i in range(4)]))
    while house.vlm[0].running < 4:
        await asyncio.sleep(0.01)
    call.cancel()
    while house.vlm[0].cancelled < 4:
        await asyncio.sleep(0.01)
    house.vlm[0].delay = 0.0
    await house.contact.Predict(contact_service_pb2.PredictRequest(photo=png, person=WHOLE))


async def test_draining_answers_what_was_read_and_says_so(build_house, png: bytes) -> None:
    house = await build_house()
    house.vlm[0].delay = 0.3
    began = asyncio.Event()

    async def endless() -> AsyncIterator[contact_service_pb2.PredictStreamRequest]:
        yield item("begun", png)
        began.set()
        await asyncio.Event().wait()

    call = house.contact.PredictStream(endless())
    await began.wait()
    while not house.vlm[0].running:
        await asyncio.sleep(0.01)
    stopping = asyncio.create_task(house.orchestrator.stop())
    outcome = await call.read()
    assert outcome.item_id == "begun"
    assert outcome.WhichOneof("outcome") == "response"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await stopping
