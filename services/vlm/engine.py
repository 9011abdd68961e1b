"""The language stage's engine: photos decoded beside the device, questions answered in batches on it, answers kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.photo import photo_sha256
from interactvlm.types import ContactAnswer, ModelIdentity, Question
from interactvlm.vlm.preprocess import PreparedPhoto
from services.runtime.batching import Batcher
from services.runtime.calls import Call
from services.runtime.device import DeviceWorker
from services.runtime.errors import QueueFull
from services.runtime.live_models import LiveModels
from services.runtime.owner_cache import OwnerCache
from services.vlm.config import VlmConfig
from services.vlm.model import Answers, Item, LanguageModel, answer_batch

__all__ = ["PHOTO_COST", "Answered", "LanguageEngine"]

#: What reading a photo costs, in questions.
PHOTO_COST = 4.0
#: Bytes of an answer's Python objects, beside its text and embedding.
_ANSWER_OVERHEAD = 1024


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers to one caller.

    Attributes:
        answers: in the questions' order.
        identity: which weights answered.
        cached: every answer was known.
    """

    answers: tuple[ContactAnswer, ...]
    identity: ModelIdentity
    cached: bool


class LanguageEngine:
    """Answers questions of many callers on one device."""

    def __init__(self, config: VlmConfig) -> None:
        self._config = config
        self.worker = DeviceWorker(config.device)
        self._decoders = ThreadPoolExecutor(config.decode_threads, thread_name_prefix="interactvlm-photo")
        self.models: LiveModels[LanguageModel] = LiveModels(LanguageModel.load, self.worker)
        self._batcher: Batcher[Item, Answers] = Batcher(
            answer_batch,
            cost=lambda item: PHOTO_COST + len(item.questions),
            limits=config.batch,
            worker=self.worker,
            name="vlm",
        )
        self._waiting_bytes = 0
        self._cache: OwnerCache[ContactAnswer] = OwnerCache(
            "answers", max_bytes=config.answer_cache_bytes, size=_answer_size
        )

    @property
    def pending(self) -> int:
        """Items that wait or run."""
        return self._batcher.pending

    async def load(self) -> None:
        """Load and warm up the configured checkpoints; raises as `interactvlm.loading` does."""
        await self.models.start(self._config, self._config.canary)

    async def close(self) -> None:
        """Finish what is inside, then let go of models and threads."""
        await self._batcher.drain()
        self.models.close()
        self.worker.close()
        self._decoders.shutdown(wait=True, cancel_futures=True)

    async def answer(
        self,
        read_photo: Callable[[], NDArray[np.uint8]],
        questions: Sequence[Question],
        *,
        photo_bytes: int,
        fast: bool,
        checkpoint_sha256: str,
        call: Call,
    ) -> Answered:
        """Answer one caller's questions on one photo.

        Args:
            read_photo: gives upright RGB uint8 [H, W, 3]; called on a decoding thread.
            questions: at least one.
            photo_bytes: what the photo takes in memory until it is read.
            fast: force the answers' beginnings.
            checkpoint_sha256: which live checkpoint; "" for one by weight.
            call: whose, until when.

        Raises:
            InputError: the photo or a question is not usable.
            CheckpointNotLive: the checkpoint is not held here.
            ResourceExhausted: too much work waits.
            DeadlineExceededError, CancelledError: as the call says.
        """
        model = self.models.choose(checkpoint_sha256)
        model.check(questions)
        with self._room(photo_bytes):
            photo, sha256 = await self._prepare(read_photo, model, call)

        def key(question: Question) -> tuple[object, ...]:
            return (model.identity.checkpoint_hash, sha256, question, fast)

        known = {question: self._cache.get(call.owner, key(question)) for question in dict.fromkeys(questions)}
        missing = tuple(question for question, answer in known.items() if answer is None)
        if missing:
            item = Item(model, photo, sha256, missing, fast, call.context)
            answered = dict(zip(missing, await self._batcher.submit(item, call), strict=True))
            for question, answer in answered.items():
                self._cache.put(call.owner, key(question), answer)
            known.update(answered)
        found = tuple(one for question in questions if (one := known[question]) is not None)
        return Answered(found, model.identity, cached=not missing)

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The models' commands, and "clear-cache" (`owner`, or everybody's); None for another command."""
        if command == "clear-cache":
            owner = arguments.get("owner")
            return {"forgotten": self._cache.clear(None if owner is None else str(owner))}
        return await self.models.admin(command, arguments)

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        if self._waiting_bytes and self._waiting_bytes + size > self._config.waiting_photo_bytes:
            raise QueueFull(
                f"{self._waiting_bytes} bytes of photos wait to be decoded; the limit is "
                f"{self._config.waiting_photo_bytes}",
                retry_after=0.5,
            )
        self._waiting_bytes += size
        try:
            yield
        finally:
            self._waiting_bytes -= size

    async def _prepare(
        self, read_photo: Callable[[], NDArray[np.uint8]], model: LanguageModel, call: Call
    ) -> tuple[PreparedPhoto, str]:
        """The photo as the model sees it, small from here on, and the hash of that."""

        def work() -> tuple[PreparedPhoto, str]:
            call.context.check()
            prepared = model.vlm.vision.preprocessor.prepare(read_photo())
            return prepared, photo_sha256(prepared.pixels)

        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)


def _answer_size(answer: ContactAnswer) -> int:
    embedding = 0 if answer.embedding is None else answer.embedding.nbytes
    return embedding + 4 * len(answer.text) + _ANSWER_OVERHEAD
