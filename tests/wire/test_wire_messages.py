from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InputError, MeshError, PhotoError, QuestionError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.types import (
    Box,
    ContactAnswer,
    LargestPerson,
    ModelIdentity,
    PersonSelector,
    PointOnPerson,
    Prediction,
    Question,
    Task,
    TaskResult,
    VertexContact,
    WholePhoto,
)
from interactvlm.v1 import contact_service_pb2, mvloc_service_pb2, types_pb2, vlm_service_pb2
from interactvlm.wire import (
    decode_answer,
    decode_body,
    decode_contact,
    decode_contact_query,
    decode_identity,
    decode_image,
    decode_person,
    decode_prediction,
    decode_question,
    decode_sha256,
    decode_sparse_contact,
    decode_surface,
    encode_answer,
    encode_body,
    encode_contact,
    encode_contact_query,
    encode_identity,
    encode_person,
    encode_prediction,
    encode_question,
    encode_sparse_contact,
    encode_surface,
    to_tensor,
)

MESH = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32), np.array([[0, 1, 2], [0, 2, 3]]))
RNG = np.random.default_rng(0)


def _same(left: object, right: object) -> None:
    """Equality of dataclasses that hold arrays."""
    for name in left.__dataclass_fields__:  # type: ignore[attr-defined]
        a, b = getattr(left, name), getattr(right, name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, strict=True, err_msg=name)
        elif isinstance(a, float):
            assert a == pytest.approx(b, abs=1e-6), name
        else:
            assert a == b, name


@pytest.mark.parametrize("task", Task)
def test_questions(task: Task) -> None:
    question = Question(task, "tennis racket")
    assert decode_question(encode_question(question), field="questions[0]") == question


@pytest.mark.parametrize("value", [0, 99, -1])
def test_unknown_tasks(value: int) -> None:
    message = vlm_service_pb2.Question(task=value)  # type: ignore[arg-type]
    with pytest.raises(QuestionError, match=r"questions\[3\]\.task: is .*; known: TASK_BINARY"):
        decode_question(message, field="questions[3]")


@pytest.mark.parametrize(
    "answer",
    [
        ContactAnswer("no contact", None, None, 0.25),
        ContactAnswer(
            "left hand [SEG]", RNG.normal(size=256).astype(np.float32), "[SEG]", 0.5, ("left hand",), "grasp", 9
        ),
    ],
)
def test_answers(answer: ContactAnswer) -> None:
    _same(decode_answer(encode_answer(answer), field="answers[0]"), answer)


def test_contacts_carry_views_only_when_asked_for() -> None:
    contact = VertexContact(RNG.random(7, np.float32), RNG.normal(size=(4, 8, 8)).astype(np.float16).astype(np.float32))
    _same(decode_contact(encode_contact(contact, view_logits=True), field="contacts[0]", vertex_count=7), contact)
    assert decode_contact(encode_contact(contact), field="contacts[0]").view_logits is None
    with pytest.raises(InputError, match=r"contacts\[0\]\.probabilities: has shape \[7\], must be \[8\]"):
        decode_contact(encode_contact(contact), field="contacts[0]", vertex_count=8)


def test_identities() -> None:
    identity = ModelIdentity("nano", "ab" * 32, trained=False, notice="untrained", close_up=True)
    assert decode_identity(encode_identity(identity)) == identity


@pytest.mark.parametrize("selector", [Box(1, 2, 30.5, 40), PointOnPerson(3.5, 4), LargestPerson(), WholePhoto()])
def test_person_selectors(selector: PersonSelector) -> None:
    assert decode_person(encode_person(selector), field="person") == selector


def test_nobody_named_is_the_largest() -> None:
    assert decode_person(types_pb2.PersonSelector(), field="person") == LargestPerson()


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (types_pb2.PersonSelector(box=types_pb2.BoundingBox(left=4, right=4, bottom=9)), "person.box"),
        (types_pb2.PersonSelector(box=types_pb2.BoundingBox(right=float("nan"), bottom=9)), "person.box"),
        (types_pb2.PersonSelector(point=types_pb2.Point(x=float("inf"))), "person.point"),
        (types_pb2.PersonSelector(whole_photo=False), "person.whole_photo"),
        (types_pb2.PersonSelector(largest=False), "person.largest"),
    ],
)
def test_senseless_selectors(message: types_pb2.PersonSelector, field: str) -> None:
    with pytest.raises(QuestionError) as caught:
        decode_person(message, field="person")
    assert caught.value.field == field


@pytest.mark.parametrize("value", ["", "ab" * 31, "AB" * 32, "../" + "ab" * 31, "ab" * 32 + "\n"])
def test_hashes_are_hex(value: str) -> None:
    with pytest.raises(InputError, match="mesh_sha256: has"):
        decode_sha256(value, field="mesh_sha256")


@given(st.lists(st.floats(0, 1, width=32), max_size=40), st.floats(0.0625, 1, width=32))
def test_sparse_contact_keeps_what_is_touched(values: list[float], threshold: float) -> None:
    probabilities = np.array(values, np.float32)
    message = encode_sparse_contact(probabilities, threshold)
    back = decode_sparse_contact(message, vertex_count=len(probabilities), field="contact")
    np.testing.assert_array_equal(back, np.where(probabilities >= threshold, probabilities, np.float32(0)))


@pytest.mark.parametrize(
    ("ids", "scores", "count"),
    [
        ([0, 5], [1, 1], 5),
        ([3, 3], [1, 1], 9),
        ([4, 3], [1, 1], 9),
        ([1], [1, 1], 9),
        ([1], [1.5], 9),
        ([1], [np.nan], 9),
        ([1], [1], -1),
        ([1], [1], 2**31 - 1),
    ],
)
def test_damaged_sparse_contact(ids: list[int], scores: list[float], count: int) -> None:
    message = types_pb2.SparseContact(
        vertex_ids=np.array(ids, "<u4").tobytes(), scores=np.array(scores, "<f4").tobytes()
    )
    with pytest.raises(InputError, match="contact"):
        decode_sparse_contact(message, vertex_count=count, field="contact")


def _result(task: Task, name: str = "") -> TaskResult:
    return TaskResult(
        task=task,
        object_name=name,
        probabilities=RNG.random(50, np.float32),
        threshold=0.3,
        surface="smplh",
        text="The [SEG]",
        confidence=0.75,
        parts_named=("left hand",),
        parts_touched=("right hand",),
        affordance="grasp",
        contact_token="[SEG]",
        view_logits=RNG.normal(size=(4, 8, 8)).astype(np.float16).astype(np.float32),
    )


@pytest.fixture
def prediction() -> Prediction:
    return Prediction(
        photo_sha256="cd" * 32,
        photo_size=(480, 640),
        model=ModelIdentity("nano", "ab" * 32),
        results=(_result(Task.SEMANTIC, "mug"), replace(_result(Task.BINARY), affordance=None, contact_token=None)),
        region=Box(0, 0, 100, 100),
        person=Box(10, 10, 90, 90),
        timings={"person": 0.125, "language": 61.5},
        notices=("2 people were found",),
    )


def test_a_dense_prediction_comes_back_whole(prediction: Prediction) -> None:
    back = decode_prediction(encode_prediction(prediction, dense=True, view_logits=True))
    _same(replace(back, results=()), replace(prediction, results=()))
    for got, sent in zip(back.results, prediction.results, strict=True):
        _same(got, sent)


def test_a_sparse_prediction_names_the_same_vertices(prediction: Prediction) -> None:
    message = encode_prediction(prediction, replayed=True)
    assert message.replayed
    for got, sent in zip(decode_prediction(message).results, prediction.results, strict=True):
        np.testing.assert_array_equal(got.vertex_ids, sent.vertex_ids)
        np.testing.assert_array_equal(got.probabilities[got.vertex_ids], sent.probabilities[sent.vertex_ids])
        assert got.view_logits is None


def test_an_object_that_failed_becomes_a_notice(prediction: Prediction) -> None:
    message = encode_prediction(prediction)
    failed = contact_service_pb2.ContactResult(task=types_pb2.TASK_OBJECT, object_name="mug")
    failed.error.message = "the mesh is gone"
    message.results.append(failed)
    back = decode_prediction(message)
    assert len(back.results) == 2
    assert back.notices == ("2 people were found", "object mug: no answer (the mesh is gone)")


@pytest.mark.parametrize("surface", [MESH, PointCloud(MESH.vertices)])
def test_surfaces(surface: Mesh | PointCloud) -> None:
    back = decode_surface(mvloc_service_pb2.PutMeshRequest.FromString(encode_surface(surface).SerializeToString()))
    assert type(back) is type(surface)
    assert back.content_hash == surface.content_hash


def test_a_surface_under_another_hash() -> None:
    message = encode_surface(MESH)
    message.mesh_sha256 = "00" * 32
    with pytest.raises(MeshError, match="mesh_sha256: is 000"):
        decode_surface(message)
    del message.faces.shape[:]
    with pytest.raises(InputError, match="faces: has shape"):
        decode_surface(message)


def test_bodies() -> None:
    body = BodyTemplate("smplh", MESH.vertices, MESH.faces, np.arange(4, dtype=np.uint8))
    _same(decode_body(encode_body(body)), body)


def test_contact_queries() -> None:
    embedding = RNG.normal(size=256).astype(np.float32)
    back, token = decode_contact_query(encode_contact_query(embedding, "[HSEG]"), field="queries[0]")
    np.testing.assert_array_equal(back, embedding)
    assert token == "[HSEG]"
    for wrong in ("", "x" * 33):
        with pytest.raises(InputError, match=r"queries\[0\]\.contact_token"):
            decode_contact_query(encode_contact_query(embedding, wrong), field="queries[0]")


def test_images_come_as_files_or_pixels() -> None:
    pixels = RNG.integers(0, 256, (20, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    for request in (
        vlm_service_pb2.AnswerRequest(encoded=buffer.getvalue()),
        vlm_service_pb2.AnswerRequest(pixels=to_tensor(pixels)),
    ):
        np.testing.assert_array_equal(decode_image(request), pixels)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (vlm_service_pb2.AnswerRequest(), "image"),
        (vlm_service_pb2.AnswerRequest(encoded=b"nonsense"), "encoded"),
        (vlm_service_pb2.AnswerRequest(encoded=b""), "encoded"),
        (vlm_service_pb2.AnswerRequest(pixels=to_tensor(np.zeros((20_000, 1, 3), np.uint8))), "pixels"),
    ],
)
def test_bad_images_are_named(request_: vlm_service_pb2.AnswerRequest, field: str) -> None:
    with pytest.raises(PhotoError) as caught:
        decode_image(request_)
    assert caught.value.field == field
