from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from interactvlm.client import AsyncClient, Client, Outcome, PhotoRequest, RefusedInputError, ServerUnavailableError
from interactvlm.errors import PhotoError
from tests.client.stub_contact_service import make_status

UNAVAILABLE = make_status(grpc.StatusCode.UNAVAILABLE, "the replica restarts")
CANCELLED = make_status(grpc.StatusCode.CANCELLED, "CANCELLED")


def _items(photo: bytes, count: int) -> list[tuple[str, PhotoRequest]]:
    return [(f"item-{i}", PhotoRequest(photo, objects=["chair"], dense=False)) for i in range(count)]


async def _run(client: AsyncClient, items: Any, **options: Any) -> list[Outcome]:
    return [outcome async for outcome in client.predict_many(items, **options)]


def _ids(outcomes: list[Outcome]) -> list[str]:
    return sorted(outcome.item_id for outcome in outcomes)


async def test_every_item_gets_one_outcome(served: Any, photo: bytes) -> None:
    async with AsyncClient(served.target) as client:
        outcomes = await _run(client, _items(photo, 25))
    assert _ids(outcomes) == sorted(f"item-{i}" for i in range(25))
    assert [o.item_id for o in outcomes] != [f"item-{i}" for i in range(25)]  # the stub swaps neighbours
    assert all(outcome.unwrap().results[0].object_name == "chair" for outcome in outcomes)


async def test_no_items_no_call(served: Any) -> None:
    async with AsyncClient(served.target) as client:
        assert await _run(client, []) == []
    assert not served.stub.metadata


async def test_bad_items_end_nothing(served: Any, photo: bytes, tmp_path: Path) -> None:
    items = _items(photo, 4)
    items.insert(0, ("missing", PhotoRequest(tmp_path / "none.jpg")))
    items.insert(3, ("refused", PhotoRequest(photo, objects=["bad"])))
    async with AsyncClient(served.target) as client:
        outcomes = {outcome.item_id: outcome for outcome in await _run(client, items)}
    assert len(outcomes) == 6
    assert isinstance(outcomes["missing"].error, PhotoError)
    assert isinstance(outcomes["refused"].error, RefusedInputError)
    assert outcomes["item-3"].error is None
    with pytest.raises(PhotoError):
        outcomes["missing"].unwrap()


@pytest.mark.parametrize(("announced", "asked", "expected"), [(3, 16, 3), (50, 4, 4)])
async def test_items_in_flight_are_bounded(
    served: Any, photo: bytes, announced: int, asked: int, expected: int
) -> None:
    served.stub.max_in_flight = announced
    outstanding, most = 0, 0

    async def source() -> AsyncIterator[tuple[str, PhotoRequest]]:
        nonlocal outstanding, most
        for item in _items(photo, 30):
            outstanding += 1
            most = max(most, outstanding)
            yield item

    async with AsyncClient(served.target) as client:
        async for _ in client.predict_many(source(), max_in_flight=asked):
            outstanding -= 1
            await asyncio.sleep(0.005)
    assert served.stub.most_unanswered <= expected
    assert most <= expected


async def test_a_broken_stream_is_taken_up_again_without_loss_or_doubles(served: Any, photo: bytes) -> None:
    served.stub.stream_breaks = [(4, UNAVAILABLE), (0, CANCELLED), (2, None), (6, UNAVAILABLE)]
    async with AsyncClient(served.target) as client:
        outcomes = await _run(client, _items(photo, 30), max_in_flight=8)
    assert _ids(outcomes) == sorted(f"item-{i}" for i in range(30))
    assert len(served.stub.metadata) >= 5
    by_photo = {request.request_id for request in served.stub.requests}
    assert len(by_photo) == 30  # what was sent twice kept its request id


async def test_a_server_that_never_answers_ends_the_stream(served: Any, photo: bytes) -> None:
    served.stub.stream_breaks = [(0, UNAVAILABLE)] * 20
    async with AsyncClient(served.target) as client:
        with pytest.raises(ServerUnavailableError, match="the replica restarts"):
            await _run(client, _items(photo, 3))
    assert len(served.stub.metadata) == 5


async def test_a_server_that_ends_every_stream_politely_is_given_up_too(served: Any, photo: bytes) -> None:
    served.stub.stream_breaks = [(0, None)] * 20
    async with AsyncClient(served.target) as client:
        with pytest.raises(ServerUnavailableError, match="ends every stream"):
            await _run(client, _items(photo, 3))


async def test_other_errors_end_the_stream_at_once(served: Any, photo: bytes) -> None:
    served.stub.stream_breaks = [(0, make_status(grpc.StatusCode.PERMISSION_DENIED, "not for you"))]
    async with AsyncClient(served.target) as client:
        with pytest.raises(Exception, match="not for you"):
            await _run(client, _items(photo, 3))
    assert len(served.stub.metadata) == 1


async def test_leaving_early_cancels_the_rest(served: Any, photo: bytes) -> None:
    async def linger(*_: Any) -> None:
        if len(served.stub.requests) > 2:
            await asyncio.sleep(60)

    served.stub.on_predict = linger
    async with AsyncClient(served.target) as client:
        stream = client.predict_many(_items(photo, 10))
        await anext(stream)
        await asyncio.sleep(0.1)
        await stream.aclose()
        await asyncio.wait_for(served.stub.cancelled.wait(), 10)


async def test_an_error_of_the_callers_own_source_reaches_the_caller(served: Any, photo: bytes) -> None:
    def source() -> Iterator[tuple[str, PhotoRequest]]:
        yield from _items(photo, 2)
        raise RuntimeError("the list of photos is damaged")

    async with AsyncClient(served.target) as client:
        with pytest.raises(RuntimeError, match="damaged"):
            await _run(client, source())


async def test_two_items_of_one_name_are_refused(served: Any, photo: bytes) -> None:
    async with AsyncClient(served.target) as client:
        with pytest.raises(ValueError, match="two items in flight"):
            await _run(client, _items(photo, 1) * 2)


async def test_the_synchronous_stream(served: Any, photo: bytes) -> None:
    def use() -> list[Outcome]:
        with Client(served.target) as client:
            for _ in client.predict_many(_items(photo, 10)):
                break  # an abandoned stream leaves the client usable
            return list(client.predict_many(_items(photo, 12), max_in_flight=4))

    outcomes = await asyncio.to_thread(use)
    assert _ids(outcomes) == sorted(f"item-{i}" for i in range(12))
