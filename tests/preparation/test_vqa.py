from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from interactvlm.datasets.sample import ContactSample, HumanContact
from interactvlm.errors import PhotoError
from interactvlm.preparation.answers import AnswerStore
from interactvlm.preparation.endpoint import ChatEndpoint, Endpoint, EndpointError
from interactvlm.preparation.vqa import VQA_FIELDS, VisualQuestions, main_object, parse_answers
from interactvlm.types import Box, Task
from tests.preparation.stub_endpoint import ANSWERS, GOOD, Reply, says


def photo(size: tuple[int, int] = (1200, 900)) -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    Image.new("RGB", size, "teal").save(out, "JPEG", exif=exif)
    return out.getvalue()


def contact(name: str, *ids: int) -> HumanContact:
    return HumanContact(Task.SEMANTIC, name, np.array(ids, dtype=np.int32), "anny")


SAMPLE = ContactSample("s1", photo(), human=(contact("cup", 1), contact("chair", 1, 2, 3)))


@pytest.fixture
def questions(stub, time, tmp_path):
    def make() -> VisualQuestions:
        chat = ChatEndpoint(Endpoint(stub.url, "small"), sleep=time.sleep, clock=time.clock)
        return VisualQuestions(chat, AnswerStore(tmp_path / "answers.jsonl"))

    made: list[VisualQuestions] = []

    def once() -> VisualQuestions:
        for old in made:
            old._store.__exit__(None, None, None)
        made.append(make())
        return made[-1]

    yield once
    for old in made:
        old._store.__exit__(None, None, None)


def test_five_fields(stub, questions) -> None:
    found = questions().answer(SAMPLE, parts=("hips", "left thigh"))
    assert [text.field for text in found.sample.texts] == list(VQA_FIELDS)
    assert [text.answer for text in found.sample.texts] == list(ANSWERS.values())
    assert found.sample.texts[1].question == "Which body parts of the person are in contact with the chair?"
    assert (found.requests, found.tokens, found.problem) == (1, 120, "")
    words, picture = stub.requests[0]["messages"][0]["content"]
    assert "marked these body parts as touching the chair: hips, left thigh" in words["text"]
    sent = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))))
    assert sent.size == (768, 576)
    assert not sent.getexif()


def test_nothing_is_paid_twice(stub, questions) -> None:
    first = questions().answer(SAMPLE)
    again = questions().answer(replace(SAMPLE, sample_id="the same photo elsewhere"))
    assert again.requests == again.tokens == 0
    assert again.sample.texts == first.sample.texts
    assert stub.paid == 1
    questions().answer(SAMPLE, parts=("hips",))
    assert stub.paid == 2


def test_useless_answers_are_asked_again_and_then_left(stub, questions) -> None:
    stub.script = [says("no"), says('{"person": "x"}'), GOOD]
    found = questions().answer(SAMPLE)
    assert (found.requests, found.tokens, found.problem) == (3, 360, "")
    other = replace(SAMPLE, photo=photo((64, 64)))
    stub.script = [says("no"), says("no"), says('{"person": "x"}')]
    left = questions().answer(other)
    assert (left.sample, left.requests) == (other, 3)
    assert left.problem == "the answer lacks the field 'body parts'"
    assert questions().answer(other).problem == left.problem
    assert stub.paid == 6


def test_a_refusal_is_final(stub, questions) -> None:
    stub.script = [says(None, refusal="No faces.")]
    found = questions().answer(SAMPLE)
    assert (found.problem, found.requests) == ("refused (No faces.)", 1)
    assert found.sample is SAMPLE
    assert questions().answer(SAMPLE).requests == 0


def test_a_service_that_ends_keeps_what_was_paid(stub, questions) -> None:
    questions().answer(SAMPLE)
    stub.script = [Reply(402, b'{"error": {"message": "out of credit"}}')]
    with pytest.raises(EndpointError, match=r"status 402 \(out of credit\)"):
        questions().answer(replace(SAMPLE, photo=photo((64, 64))))
    assert questions().answer(SAMPLE).requests == 0


def test_answers_that_somebody_edited_are_asked_for_again(stub, questions, tmp_path) -> None:
    questions().answer(SAMPLE)
    path = tmp_path / "answers.jsonl"
    path.write_text(path.read_text().replace('"person"', '"somebody"'))
    assert questions().answer(SAMPLE).requests == 1
    assert stub.paid == 2


def test_the_person_is_pointed_at(stub, questions) -> None:
    questions().answer(replace(SAMPLE, person=Box(-30, 90, 600, 2000)))
    assert "box (left, top, right, bottom) 0%, 10%, 50%, 100%" in stub.requests[0]["messages"][0]["content"][0]["text"]


def test_photos_that_cannot_be_read_cost_nothing(stub, questions) -> None:
    with pytest.raises(PhotoError):
        questions().answer(replace(SAMPLE, photo=b"no photo"))
    assert stub.paid == 0


def test_the_object_in_question() -> None:
    assert main_object(SAMPLE) == "chair"
    assert main_object(replace(SAMPLE, human=())) == "things around"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ANSWERS),
        "```json\n" + json.dumps(ANSWERS, indent=1) + "\n```",
        "Sure! " + json.dumps({key.upper().replace(" ", "_"): value for key, value in ANSWERS.items()}) + " Bye",
        json.dumps({**ANSWERS, "more": 1}),
    ],
)
def test_answers_as_models_write_them(text) -> None:
    assert parse_answers(text) == ANSWERS


def test_lists_become_text() -> None:
    assert (
        parse_answers(json.dumps({**ANSWERS, "body parts": ["hips", "left hand"]}))["body parts"] == "hips, left hand"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"object": ""}, "lacks the field 'object'"),
        ({"object": 3}, "lacks the field 'object'"),
        ({"object": "x" * 601}, "has 601 characters, the limit is 600"),
        ({"object": "It is [SEG]."}, "holds control characters or markup"),
        ({"object": "a <|im_end|> b"}, "holds control characters or markup"),
        ({"object": "a\u202eb"}, "holds control characters or markup"),
    ],
)
def test_useless_fields(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        parse_answers(json.dumps({**ANSWERS, **changes}))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]":, personbdyatic\\u0', max_size=80))
def test_any_text_is_answers_or_a_reason(text) -> None:
    with pytest.raises(ValueError, match=r"the answer|the field"):
        parse_answers(text)
