"""One live checkpoint of the language stage, and what it computes for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interactvlm.config import Settings
from interactvlm.errors import CancelledError, QuestionError
from interactvlm.loading import load_language, open_checkpoint
from interactvlm.stages import CallContext
from interactvlm.types import ContactAnswer, ModelIdentity, Question, Task
from interactvlm.vlm.model import ContactVLM
from interactvlm.vlm.preprocess import PreparedPhoto

__all__ = ["Item", "LanguageModel", "answer_batch"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LanguageModel:
    """Psi and Gamma of one checkpoint.

    Attributes:
        identity: which weights these are.
        vlm: the loaded model.
        device: where it computes ("cpu", "cuda:0").
    """

    identity: ModelIdentity
    vlm: ContactVLM
    device: str

    @classmethod
    def load(cls, settings: Settings) -> LanguageModel:
        """Load what `settings` names; raises as `interactvlm.loading` does."""
        opened = open_checkpoint(settings)
        return cls(opened.identity(), load_language(opened), str(opened.device))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks it has heads for."""
        config = self.vlm.config
        body = (Task.BINARY, Task.SEMANTIC, Task.SCENE) if config.has_human_head else ()
        return (*body, Task.OBJECT) if config.has_object_head else body

    def warm_up(self) -> None:
        """Answer one question in both ways, so that kernels and buffers exist."""
        grey = np.full((64, 64, 3), 128, dtype=np.uint8)
        question = Question(self.tasks[0], "object")
        for fast in (True, False):
            self.vlm.answer([grey], [[question]], fast=fast, max_new_tokens=2)

    def check(self, questions: Sequence[Question]) -> None:
        """Raise QuestionError for a question this checkpoint cannot be asked, naming the message's field."""
        for index, question in enumerate(questions):
            try:
                self.vlm.prompt(question)
            except QuestionError as error:
                raise QuestionError(f"questions[{index}].{error.field}", error.problem) from None


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One caller's open questions on one photo.

    Attributes:
        model: who answers.
        photo: prepared for that model.
        photo_sha256: of the prepared pixels.
        questions: at least one.
        fast: force the answers' beginnings.
        context: whether the caller still waits.
    """

    model: LanguageModel
    photo: PreparedPhoto
    photo_sha256: str
    questions: tuple[Question, ...]
    fast: bool
    context: CallContext


Answers = tuple[ContactAnswer, ...]


def answer_batch(items: Sequence[Item]) -> list[Answers | BaseException]:
    """Answer many callers' questions together, on the device's thread.

    Items of one model and mode are one call of the model; equal photos are read once, equal questions on them answered
    once. A group that nobody waits for any more is given up alone; another error is raised, for the batcher to find
    out whose it is, unless a single item caused it.
    """
    results: dict[int, Answers | BaseException] = {}
    groups: dict[tuple[int, bool], list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault((id(item.model), item.fast), []).append(index)
    for indices in groups.values():
        members = [items[i] for i in indices]
        try:
            results.update(zip(indices, _answer_group(members), strict=True))
        except CancelledError as error:
            results.update(dict.fromkeys(indices, error))
        except Exception as error:
            if len(items) > 1:
                raise
            results[indices[0]] = error
    return [results[i] for i in range(len(items))]


def _answer_group(items: Sequence[Item]) -> list[Answers]:
    photos: dict[str, PreparedPhoto] = {}
    asked: dict[str, dict[Question, int]] = {}
    for item in items:
        photos.setdefault(item.photo_sha256, item.photo)
        places = asked.setdefault(item.photo_sha256, {})
        for question in item.questions:
            places.setdefault(question, len(places))
    answered = items[0].model.vlm.answer(
        list(photos.values()),
        [list(places) for places in asked.values()],
        fast=items[0].fast,
        should_stop=lambda: all(item.context.should_stop() for item in items),
    )
    rows = dict(zip(photos, answered, strict=True))
    return [tuple(rows[item.photo_sha256][asked[item.photo_sha256][q]] for q in item.questions) for item in items]
