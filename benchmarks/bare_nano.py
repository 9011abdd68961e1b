"""Nano's two engines without any server: photo bytes to contact in full batches, one after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from interactvlm.config import Settings
from interactvlm.photo import load_photo, photo_sha256
from interactvlm.stages import CallContext
from interactvlm.types import Question, Task
from services.mvloc.model import Item as Place
from services.mvloc.model import LocalizationModel, locate_batch
from services.vlm.model import Item, LanguageModel, answer_batch

__all__ = ["BareNano"]


class BareNano:
    """The engines of the stages, in this process."""

    def __init__(self) -> None:
        self._language = LanguageModel.load(Settings())
        self._localization = LocalizationModel.load(Settings())
        self._language.warm_up()
        self._localization.warm_up()

    def rate(self, photos: Sequence[bytes], items: int) -> float:
        """Photos a second in batches of `items`, one binary question each."""
        began = time.perf_counter()
        for start in range(0, len(photos), items):
            batch = []
            for encoded in photos[start : start + items]:
                prepared = self._language.vlm.vision.preprocessor.prepare(load_photo(encoded))
                sha256 = photo_sha256(prepared.pixels)
                batch.append(Item(self._language, prepared, sha256, (Question(Task.BINARY),), False, CallContext()))
            places = []
            for answers in answer_batch(batch):
                if isinstance(answers, BaseException):
                    raise answers
                held = [answer for answer in answers if answer.embedding is not None and answer.token]
                if held:
                    embeddings = np.stack([answer.embedding for answer in held if answer.embedding is not None])
                    tokens = tuple(answer.token for answer in held if answer.token)
                    places.append(Place(self._localization, None, embeddings, tokens))
            if places:
                locate_batch(places)
        return len(photos) / (time.perf_counter() - began)
