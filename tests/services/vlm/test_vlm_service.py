from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from interactvlm.types import ContactAnswer, Question, Task
from interactvlm.v1 import vlm_service_pb2
from interactvlm.vlm.model import ContactVLM
from interactvlm.wire import decode_answer, decode_image, encode_question, to_tensor
from services.runtime.calls import OWNER_KEY
from services.runtime.metrics import CACHE_REQUESTS
from services.vlm.config import VlmConfig
from tests.services.stage_calls import held_worker, reason, waiting

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTIONS = [Question(Task.SEMANTIC, "chair"), Question(Task.BINARY), Question(Task.SCENE)]


def request(photo: bytes | np.ndarray, questions: Sequence[Question] = QUESTIONS, **rest: Any) -> Any:
    image = {"encoded": photo} if isinstance(photo, bytes) else {"pixels": to_tensor(photo)}
    return vlm_service_pb2.AnswerRequest(questions=map(encode_question, questions), **image, **rest)


async def ask(running: Any, message: Any, owner: str, **rest: Any) -> Any:
    return await running.stub.Answer(message, metadata=[(OWNER_KEY, owner)], **rest)


def answers(response: vlm_service_pb2.AnswerResponse) -> list[ContactAnswer]:
    return [decode_answer(message, field=f"answers[{i}]") for i, message in enumerate(response.answers)]


def assert_same(got: Sequence[ContactAnswer], expected: Sequence[ContactAnswer]) -> None:
    assert [one.text for one in got] == [one.text for one in expected]
    assert [one.token for one in got] == [one.token for one in expected]
    for one, other in zip(got, expected, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
        assert (one.embedding is None) == (other.embedding is None)
        if one.embedding is not None:
            np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-5)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """(photos, questions) of every call of the model."""
    seen: list[tuple[int, int]] = []
    original = ContactVLM.answer

    def counting(self: ContactVLM, photos: Any, questions: Any, **rest: Any) -> Any:
        seen.append((len(photos), sum(map(len, questions))))
        return original(self, photos, questions, **rest)

    monkeypatch.setattr(ContactVLM, "answer", counting)
    return seen


@pytest.mark.parametrize("fast", [False, True])
async def test_answers_are_the_librarys(
    running: Any, library: ContactVLM, photos: list[bytes], arrays: list[np.ndarray], fast: bool
) -> None:
    for photo, array in zip(photos, arrays, strict=True):
        (expected,) = library.answer([array], [QUESTIONS], fast=fast)
        assert_same(answers(await running.stub.Answer(request(photo, fast=fast))), expected)
        by_pixels = await ask(running, request(array, fast=fast), "pixels")
        assert_same(answers(by_pixels), expected)


async def test_concurrent_callers_share_one_batch(
    running: Any, library: ContactVLM, photos: list[bytes], arrays: list[np.ndarray], calls: list[tuple[int, int]]
) -> None:
    asked = [QUESTIONS[:1], QUESTIONS[1:], QUESTIONS, QUESTIONS[:1]]
    order = [0, 1, 2, 0]
    async with held_worker(running.service.engine):
        tasks = [
            asyncio.create_task(ask(running, request(photos[i], questions), f"owner {k}"))
            for k, (i, questions) in enumerate(zip(order, asked, strict=True))
        ]
        await waiting(running.service.engine, len(tasks))
    responses = await asyncio.gather(*tasks)
    # Equal photos are read once, and equal questions on them answered once, whoever asks.
    assert calls == [(3, 6)]
    for response, i, questions in zip(responses, order, asked, strict=True):
        assert not response.cached
        assert_same(answers(response), library.answer([arrays[i]], [questions])[0])


async def test_a_cancelled_member_leaves_its_siblings_alone(
    running: Any, photos: list[bytes], calls: list[tuple[int, int]]
) -> None:
    async with held_worker(running.service.engine):
        tasks = [asyncio.create_task(ask(running, request(photos[i]), f"sibling {i}")) for i in range(3)]
        await waiting(running.service.engine, 3)
        tasks[1].cancel()
        while running.service.engine.pending > 2:
            await asyncio.sleep(0.005)
    first, cancelled, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert len(first.answers) == len(last.answers) == len(QUESTIONS)
    assert calls == [(2, 6)]


async def test_an_expired_call_never_starts(running: Any, photos: list[bytes], calls: list[tuple[int, int]]) -> None:
    async with held_worker(running.service.engine):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(running, request(photos[0]), "late", timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await ask(running, request(photos[1]), "in time")
    assert calls == [(1, 3)]


async def test_a_poisonous_photo_fails_alone(
    running: Any, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ContactVLM.answer

    def breaking(self: ContactVLM, seen: Any, questions: Any, **rest: Any) -> Any:
        if any(question.object_name == "poison" for asked in questions for question in asked):
            raise RuntimeError("a kernel failed")
        return original(self, seen, questions, **rest)

    monkeypatch.setattr(ContactVLM, "answer", breaking)
    names = ["mug", "poison", "book"]
    async with held_worker(running.service.engine):
        tasks = [
            asyncio.create_task(ask(running, request(photos[0], [Question(Task.SEMANTIC, name)]), f"poison {name}"))
            for name in names
        ]
        await waiting(running.service.engine, 3)
    first, poisoned, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert len(first.answers) == len(last.answers) == 1
    assert reason(poisoned)[:2] == ("INTERNAL", "INTERNAL")


async def test_answers_are_kept_for_their_owner_only(
    running: Any, photos: list[bytes], calls: list[tuple[int, int]]
) -> None:
    def hits() -> float:
        return CACHE_REQUESTS.labels(cache="answers", result="hit")._value.get()

    first = await ask(running, request(photos[0]), "alice")
    before = hits()
    again = await ask(running, request(photos[0]), "alice")
    assert (first.cached, again.cached, hits() - before) == (False, True, 3)
    assert again.answers == first.answers
    foreign = await ask(running, request(photos[0]), "bob")
    assert not foreign.cached
    more = await ask(running, request(photos[0], [*QUESTIONS, Question(Task.SEMANTIC, "mug")]), "alice")
    assert not more.cached
    assert not (await ask(running, request(photos[0], fast=True), "alice")).cached
    assert calls == [(1, 3), (1, 3), (1, 1), (1, 3)]
    assert (await running.service.admin("clear-cache", {"owner": "alice"}))["forgotten"] == 7
    assert not (await ask(running, request(photos[0]), "alice")).cached
    assert (await ask(running, request(photos[0]), "bob")).cached


async def test_photos_that_wait_are_bounded(
    vlm_config: VlmConfig, start: Any, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    began, release = threading.Event(), threading.Event()

    def slow(message: Any) -> np.ndarray:
        began.set()
        release.wait(30)
        return decode_image(message)

    monkeypatch.setattr("services.vlm.servicer.decode_image", slow)
    async with start(replace(vlm_config, waiting_photo_bytes=len(photos[0]) + 1000)) as narrow:
        first = asyncio.create_task(ask(narrow, request(photos[0]), "first"))
        await asyncio.to_thread(began.wait, 30)
        try:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(narrow, request(photos[1]), "second")
        finally:
            release.set()
        assert reason(caught.value)[:2] == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert len((await first).answers) == len(QUESTIONS)
        assert len((await ask(narrow, request(photos[1]), "second")).answers) == len(QUESTIONS)


async def test_model_information(running: Any) -> None:
    info = await running.stub.GetModelInfo(vlm_service_pb2.GetModelInfoRequest())
    (live,) = info.models
    assert (live.model.name, live.weight, info.device) == ("contact_release", 1.0, "cpu")
    assert len(live.model.checkpoint_sha256) == 64
    assert list(live.tasks) == [1, 2, 3]


PHOTO = np.zeros((32, 32, 3), np.uint8)
BAD = {
    "no image": (vlm_service_pb2.AnswerRequest(questions=[encode_question(QUESTIONS[0])]), "PHOTO_INVALID", "image"),
    "no file": (request(b"not a photo"), "PHOTO_INVALID", "encoded"),
    "a strip": (request(np.zeros((2000, 4, 3), np.uint8)), "PHOTO_INVALID", "pixels"),
    "floats": (request(PHOTO.astype(np.float32)), "INPUT_INVALID", "pixels"),
    "no questions": (request(PHOTO, []), "QUESTION_INVALID", "questions"),
    "65 questions": (request(PHOTO, QUESTIONS[:1] * 65), "QUESTION_INVALID", "questions"),
    "no name": (
        request(PHOTO, [QUESTIONS[1], Question(Task.SEMANTIC)]),
        "QUESTION_INVALID",
        "questions[1].object_name",
    ),
    "token": (
        request(PHOTO, [Question(Task.SEMANTIC, "a [SEG]")]),
        "QUESTION_INVALID",
        "questions[0].object_name",
    ),
    "no head": (request(PHOTO, [Question(Task.OBJECT, "mug")]), "QUESTION_INVALID", "questions[0].task"),
    "no task": (
        vlm_service_pb2.AnswerRequest(encoded=b"x", questions=[vlm_service_pb2.Question()]),
        "QUESTION_INVALID",
        "questions[0].task",
    ),
    "no hash": (request(PHOTO, checkpoint_sha256="../etc"), "INPUT_INVALID", "checkpoint_sha256"),
}


@pytest.mark.parametrize("name", BAD)
async def test_malformed_requests_name_their_field(running: Any, name: str) -> None:
    message, expected, field = BAD[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.Answer(message)
    assert reason(caught.value) == ("INVALID_ARGUMENT", expected, [field])


async def test_a_checkpoint_that_is_not_live(running: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.Answer(request(PHOTO, checkpoint_sha256="0" * 64))
    assert reason(caught.value)[:2] == ("NOT_FOUND", "CHECKPOINT_NOT_LIVE")
