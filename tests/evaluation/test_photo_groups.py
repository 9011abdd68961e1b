from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from interactvlm.errors import PhotoError, QuestionError
from interactvlm.evaluation.batching import BatchedLanguage
from interactvlm.local import Worker
from interactvlm.stages import CallContext
from interactvlm.types import ContactAnswer, ModelIdentity, Question, Task


class Model:
    """Answers with the photo's first byte; knows no theremin."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def answer(
        self, photos: Sequence[np.ndarray], questions: Sequence[Sequence[Question]], *, fast: bool
    ) -> list[list[ContactAnswer]]:
        if any(question.object_name == "theremin" for asked in questions for question in asked):
            raise QuestionError("object_name", "is a theremin")
        names = [int(photo[0, 0, 0]) for photo in photos]
        self.batches.append(names)
        return [
            [ContactAnswer(str(name), None, None, 1.0) for _ in asked]
            for name, asked in zip(names, questions, strict=True)
        ]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def language(model: Model):
    worker = Worker()
    yield BatchedLanguage(model, ModelIdentity("m", "0"), worker)  # type: ignore[arg-type]
    worker.close()


async def ask(language: BatchedLanguage, number: int, name: str = "cup", *, wait: int = 0) -> str:
    for _ in range(wait):
        await asyncio.sleep(0)
    photo = np.full((16, 16, 3), number, np.uint8)
    (answer,) = await language.answer(photo, [Question(Task.SEMANTIC, name)], fast=False, context=CallContext())
    return answer.text


async def test_a_group_is_one_batch_in_its_own_order_whoever_comes_first(language, model: Model) -> None:
    found = await language.together([ask(language, n, wait=7 - n) for n in range(5)])
    assert found == ["0", "1", "2", "3", "4"]
    assert model.batches == [[0, 1, 2, 3, 4]]


async def test_nobody_waits_for_a_call_that_ends_early(language, model: Model) -> None:
    async def unreadable() -> str:
        await asyncio.sleep(0)
        raise PhotoError("photo", "is damaged")

    found = await language.together([ask(language, 0), unreadable(), ask(language, 2)])
    assert [str(item) for item in found] == ["0", "photo: is damaged", "2"]
    assert model.batches == [[0, 2]]


async def test_one_wrong_question_is_not_the_others(language, model: Model) -> None:
    found = await language.together([ask(language, 0), ask(language, 1, "theremin"), ask(language, 2)])
    assert [str(item) for item in found] == ["0", "object_name: is a theremin", "2"]
    assert sorted(model.batches) == [[0], [2]]


async def test_a_call_outside_a_group_is_answered_at_once(language, model: Model) -> None:
    assert await ask(language, 9) == "9"
    assert await language.together([ask(language, 1)]) == ["1"]
    assert model.batches == [[9], [1]]


async def test_an_unexpected_failure_reaches_every_call(language, model: Model) -> None:
    model.batches = None  # type: ignore[assignment]
    found = await asyncio.wait_for(language.together([ask(language, 0), ask(language, 1)]), timeout=5)
    assert [type(item) for item in found] == [AttributeError, AttributeError]
