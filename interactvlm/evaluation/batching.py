"""Several photos in one forward pass, behind the pipeline's own Protocol.

The pipeline asks about one photo at a time. Where the language model is at hand, calls that are under way together
are answered as one batch; which ones those are is decided by the caller, not by timing, so that a run repeated, or
resumed in the middle, computes the same batches and the same numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InteractVLMError
from interactvlm.local import Worker
from interactvlm.stages import CallContext
from interactvlm.types import ContactAnswer, ModelIdentity, Question

if TYPE_CHECKING:
    from interactvlm.vlm.model import ContactVLM

__all__ = ["BatchedLanguage"]

T = TypeVar("T")


class _Place:
    """One call of a group: where in the group it stands, and whether it has reached the language stage."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.arrived = False


_PLACE: ContextVar[_Place | None] = ContextVar("_PLACE", default=None)
_Call = tuple[int, NDArray[np.uint8], Sequence[Question], bool, "asyncio.Future[list[ContactAnswer]]"]


class BatchedLanguage:
    """A language stage that waits until every call of a group has arrived (or ended without arriving).

    Args:
        model: Psi and Gamma.
        identity: which weights they are.
        worker: the device's thread.
    """

    def __init__(self, model: ContactVLM, identity: ModelIdentity, worker: Worker) -> None:
        self._model = model
        self._identity = identity
        self._worker = worker
        self._expected = 0
        self._waiting: list[_Call] = []

    @property
    def identity(self) -> ModelIdentity:
        """See `LanguageStage`."""
        return self._identity

    @property
    def close_up(self) -> bool:
        """See `LanguageStage`."""
        return self._identity.close_up

    async def answer(
        self, photo: NDArray[np.uint8], questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        """See `LanguageStage`; the context's deadline is checked by the pipeline alone."""
        future: asyncio.Future[list[ContactAnswer]] = asyncio.get_running_loop().create_future()
        place = _PLACE.get() or _Place(0)
        place.arrived = True
        self._waiting.append((place.index, photo, questions, fast, future))
        self._expected = max(0, self._expected - 1)
        await self._flush()
        return await future

    async def together(self, calls: Sequence[Awaitable[T]]) -> list[T | BaseException]:
        """Run pipeline calls side by side; their photos are read as one batch.

        Returns:
            What each call returned or raised, in order.
        """
        self._expected = len(calls)

        async def one(index: int, call: Awaitable[T]) -> T:
            place = _Place(index)
            _PLACE.set(place)
            try:
                return await call
            finally:
                if not place.arrived:  # it ended before it asked: nobody shall wait for it
                    self._expected = max(0, self._expected - 1)
                    await self._flush()

        return list(await asyncio.gather(*(one(*item) for item in enumerate(calls)), return_exceptions=True))

    async def _flush(self) -> None:
        if self._expected or not self._waiting:
            return
        calls, self._waiting = sorted(self._waiting, key=lambda call: call[0]), []
        try:
            answers = await self._ask(calls)
        except Exception as error:  # noqa: BLE001 - every call is told, whatever it was
            if isinstance(error, InteractVLMError) and len(calls) > 1:
                for call in calls:  # one photo's mistake is not the others'
                    self._waiting = [call]
                    await self._flush()
                return
            for call in calls:
                call[-1].set_exception(error)
            return
        for call, found in zip(calls, answers, strict=True):
            call[-1].set_result(found)

    async def _ask(self, calls: Sequence[_Call]) -> list[list[ContactAnswer]]:
        photos, questions = [call[1] for call in calls], [call[2] for call in calls]
        return await self._worker.run(lambda: self._model.answer(photos, questions, fast=calls[0][3]), CallContext())
