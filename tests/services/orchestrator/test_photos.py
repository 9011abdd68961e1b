from __future__ import annotations

import asyncio

import pytest

from interactvlm.errors import DeadlineExceededError, PhotoError
from interactvlm.stages import CallContext
from services.orchestrator.fairness import FairPlaces
from services.orchestrator.photos import PhotoRoom

PIXELS = 32 * 48 * 3


async def test_room_is_given_back(png: bytes) -> None:
    room = PhotoRoom(capacity=2 * PIXELS, decoders=2)
    most = inside = 0

    async def look() -> None:
        nonlocal most, inside
        async with room.decoded(png, owner="alice", context=CallContext()) as photo:
            assert photo.shape == (32, 48, 3)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(look() for _ in range(9)))
    assert most == 2
    room.close()


async def test_a_photo_larger_than_the_room_is_let_in_alone(png: bytes) -> None:
    room = PhotoRoom(capacity=1, decoders=2)
    async with room.decoded(png, owner="alice", context=CallContext()):
        with pytest.raises(DeadlineExceededError):
            async with room.decoded(png, owner="alice", context=CallContext.within(0.05)):
                pass
    async with room.decoded(png, owner="alice", context=CallContext.within(5)):
        pass
    room.close()


async def test_a_bad_photo_takes_no_room(png: bytes) -> None:
    room = PhotoRoom(capacity=PIXELS, decoders=1)
    for _ in range(3):
        with pytest.raises(PhotoError):
            async with room.decoded(b"junk", owner="alice", context=CallContext()):
                pass
    async with room.decoded(png, owner="alice", context=CallContext()):
        pass
    room.close()


async def test_owners_take_turns() -> None:
    places = FairPlaces(1)
    order: list[str] = []

    async def work(owner: str) -> None:
        async with places.place(owner):
            order.append(owner)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(owner) for owner in ["greedy"] * 4 + ["modest", "other"]))
    assert order == ["greedy", "greedy", "modest", "other", "greedy", "greedy"]


async def test_who_leaves_takes_no_place() -> None:
    places = FairPlaces(1)
    entered = asyncio.Event()

    async def work(owner: str) -> None:
        async with places.place(owner):
            entered.set()
            await asyncio.sleep(0.05)

    first = asyncio.create_task(work("one"))
    await entered.wait()
    leaving = [asyncio.create_task(work("two")) for _ in range(3)]
    await asyncio.sleep(0)
    for task in leaving[:2]:
        task.cancel()
    await asyncio.gather(first, *leaving, return_exceptions=True)
    await asyncio.wait_for(work("three"), 5)
    holder = asyncio.create_task(work("one"))
    await asyncio.sleep(0)
    late = asyncio.create_task(work("two"))
    await asyncio.sleep(0)
    await holder
    late.cancel()  # its turn has come, it has not run yet
    await asyncio.gather(late, return_exceptions=True)
    await asyncio.wait_for(work("three"), 5)
