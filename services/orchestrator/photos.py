"""Photos of requests: decoded a few at a time, and never more in memory than stated."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from interactvlm.photo import load_photo
from interactvlm.stages import CallContext
from services.orchestrator.fairness import FairPlaces

__all__ = ["PhotoRoom"]


class PhotoRoom:
    """Room for decoded photos.

    At most `decoders` photos are being decoded or wait, decoded, for room; so memory is bounded by `capacity` plus as
    many photos of the largest size.

    Args:
        capacity: bytes of pixels held at once; a single larger photo is let in alone.
        decoders: photos decoded at once.
    """

    def __init__(self, *, capacity: int, decoders: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._waiting: deque[asyncio.Event] = deque()
        self._places = FairPlaces(decoders)
        self._threads = ThreadPoolExecutor(decoders, thread_name_prefix="interactvlm-photo")

    @asynccontextmanager
    async def decoded(self, encoded: bytes, *, owner: str, context: CallContext) -> AsyncIterator[NDArray[np.uint8]]:
        """The upright pixels, RGB uint8 [H, W, 3], for as long as the block lasts; owners take turns.

        Raises:
            PhotoError: see `load_photo`.
            DeadlineExceededError, CancelledError: nobody waits for the answer any more.
        """
        async with self._places.place(owner):
            context.check()
            photo = await asyncio.get_running_loop().run_in_executor(self._threads, load_photo, encoded)
            await self._take(photo.nbytes, context)
        try:
            yield photo
        finally:
            self._give_back(photo.nbytes)

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _take(self, size: int, context: CallContext) -> None:
        while self._held and self._held + size > self._capacity:
            room = asyncio.Event()
            self._waiting.append(room)
            try:
                await asyncio.wait_for(room.wait(), context.remaining())
            except TimeoutError:
                context.check()
            finally:
                if room in self._waiting:
                    self._waiting.remove(room)
        self._held += size

    def _give_back(self, size: int) -> None:
        self._held -= size
        for room in self._waiting:
            room.set()
