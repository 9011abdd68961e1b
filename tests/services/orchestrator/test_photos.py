from __future__ import annotations

import asyncio

import pytest

from interactvlm.errors import DeadlineExceededError, PhotoError
from interactvlm.stages import CallContext
from services.orchestrator.photos import PhotoRoom

PIXELS = 32 * 48 * 3


async def test_room_is_given_back(png: bytes) -> None:
    room = PhotoRoom(capacity=2 * PIXELS, decoders=2)
    most = inside = 0

    async def look() -> None:
        nonlocal most, inside
        async with room.decoded(png, context=CallContext()) as photo:
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
    async with room.decoded(png, context=CallContext()):
        with pytest.raises(DeadlineExceededError):
            async with room.decoded(png, context=CallContext.within(0.05)):
                pass
    async with room.decoded(png, context=CallContext.within(5)):
        pass
    room.close()


async def test_a_bad_photo_takes_no_room(png: bytes) -> None:
    room = PhotoRoom(capacity=PIXELS, decoders=1)
    for _ in range(3):
        with pytest.raises(PhotoError):
            async with room.decoded(b"junk", context=CallContext()):
                pass
    async with room.decoded(png, context=CallContext()):
        pass
    room.close()
