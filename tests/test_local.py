from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

from interactvlm.body.template import load_template
from interactvlm.errors import CancelledError, DeadlineExceededError
from interactvlm.geometry.mesh import PointCloud
from interactvlm.local import LocalLanguage, LocalLocalization, Worker
from interactvlm.stages import CallContext
from interactvlm.types import ContactAnswer, ModelIdentity, Question, Task

PHOTO = np.zeros((16, 16, 3), np.uint8)
ANSWER = ContactAnswer("It is [SEG].", np.zeros(256, np.float32), "[SEG]", 1.0)


class Endless:
    """A model that answers nothing until it is told to stop."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.stopped = threading.Event()

    def answer(self, *_: Any, should_stop: Callable[[], bool], **__: Any) -> Any:
        self.running.set()
        while not should_stop():
            self.stopped.wait(0.001)
        self.stopped.set()
        raise CancelledError("answering was stopped")

    locate_body = locate_object = answer


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


Ask = Callable[[Endless, Worker, CallContext], Coroutine[Any, Any, Any]]


def ask_language(model: Endless, worker: Worker, context: CallContext) -> Coroutine[Any, Any, Any]:
    stage = LocalLanguage(model, ModelIdentity("endless", "0" * 64), worker)  # type: ignore[arg-type]
    return stage.answer(PHOTO, [Question(Task.BINARY)], fast=False, context=context)


def ask_about_the_body(model: Endless, worker: Worker, context: CallContext) -> Coroutine[Any, Any, Any]:
    stage = LocalLocalization(model, load_template("anny"), worker)  # type: ignore[arg-type]
    return stage.body_contacts([ANSWER], context=context)


def ask_about_an_object(model: Endless, worker: Worker, context: CallContext) -> Coroutine[Any, Any, Any]:
    stage = LocalLocalization(model, load_template("anny"), worker)  # type: ignore[arg-type]
    return stage.object_contacts(PointCloud(np.eye(3, dtype=np.float32)), [ANSWER], context=context)


@pytest.fixture(params=[ask_language, ask_about_the_body, ask_about_an_object])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


def test_a_cancelled_task_is_cancelled_and_the_model_stops(worker: Worker, ask: Ask) -> None:
    model = Endless()

    async def run() -> asyncio.Task[Any]:
        task = asyncio.ensure_future(ask(model, worker, CallContext()))
        await asyncio.to_thread(model.running.wait)
        task.cancel()
        await asyncio.wait([task])
        return task

    assert asyncio.run(run()).cancelled()
    assert model.stopped.wait(10)


def test_a_deadline_in_the_middle_is_told_as_one(worker: Worker, ask: Ask) -> None:
    with pytest.raises(DeadlineExceededError):
        asyncio.run(ask(Endless(), worker, CallContext.within(0.05)))


def test_a_withdrawn_call_never_starts(worker: Worker, ask: Ask) -> None:
    model, context = Endless(), CallContext()
    context.cancel()
    with pytest.raises(CancelledError):
        asyncio.run(ask(model, worker, context))
    assert not model.running.is_set()
