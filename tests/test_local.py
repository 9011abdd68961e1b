from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from interactvlm.errors import CancelledError, DeadlineExceededError
from interactvlm.local import LocalLanguage, Worker
from interactvlm.stages import CallContext
from interactvlm.types import ModelIdentity, Question, Task

PHOTO = np.zeros((16, 16, 3), np.uint8)


class Endless:
    """A model that answers nothing until it is told to stop."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.stopped = threading.Event()

    def answer(self, *_: Any, should_stop: Callable[[], bool], **__: Any) -> list[list[Any]]:
        self.running.set()
        while not should_stop():
            self.stopped.wait(0.001)
        self.stopped.set()
        raise CancelledError("answering was stopped")


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


def ask(model: Endless, worker: Worker, context: CallContext) -> Any:
    stage = LocalLanguage(model, ModelIdentity("endless", "0" * 64), worker)  # type: ignore[arg-type]
    return stage.answer(PHOTO, [Question(Task.BINARY)], fast=False, context=context)


def test_a_cancelled_task_is_cancelled_and_the_model_stops(worker: Worker) -> None:
    model = Endless()

    async def run() -> asyncio.Task[Any]:
        task = asyncio.ensure_future(ask(model, worker, CallContext()))
        await asyncio.to_thread(model.running.wait)
        task.cancel()
        await asyncio.wait([task])
        return task

    assert asyncio.run(run()).cancelled()
    assert model.stopped.wait(10)


def test_a_deadline_in_the_middle_is_told_as_one(worker: Worker) -> None:
    with pytest.raises(DeadlineExceededError):
        asyncio.run(ask(Endless(), worker, CallContext.within(0.05)))


def test_a_withdrawn_call_never_starts(worker: Worker) -> None:
    model, context = Endless(), CallContext()
    context.cancel()
    with pytest.raises(CancelledError):
        asyncio.run(ask(model, worker, context))
    assert not model.running.is_set()
