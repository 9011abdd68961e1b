from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from interactvlm.body.template import BodyTemplate, load_template
from interactvlm.errors import CancelledError, InputError, InteractVLMError, QuestionError
from interactvlm.facade import InteractVLM
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.pipeline import ObjectQuery, Pipeline
from interactvlm.stages import CallContext, PersonChoice
from interactvlm.types import Box, ContactAnswer, ModelIdentity, Question, Task, VertexContact, WholePhoto

PHOTO = np.zeros((32, 32, 3), dtype=np.uint8)


class Language:
    identity = ModelIdentity("fake", "0" * 64)
    close_up = False

    async def answer(
        self, photo: np.ndarray, questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        return [ContactAnswer("[SEG]", np.zeros(256, np.float32), "[SEG]", 1.0) for _ in questions]


class Localization:
    def __init__(self, failing: dict[str, InteractVLMError]) -> None:
        self.failing = failing
        self.body: BodyTemplate = load_template("anny")

    async def body_contacts(self, answers: Sequence[ContactAnswer], *, context: CallContext) -> list[VertexContact]:
        return self._contacts("", self.body.vertex_count, answers)

    async def object_contacts(
        self, surface: Mesh | PointCloud, answers: Sequence[ContactAnswer], *, context: CallContext
    ) -> list[VertexContact]:
        return self._contacts(surface.content_hash, len(surface.xyz), answers)

    def _contacts(self, surface: str, count: int, answers: Sequence[ContactAnswer]) -> list[VertexContact]:
        if error := self.failing.get(surface):
            raise error
        return [VertexContact(np.ones(count, np.float32)) for _ in answers]


CUP = PointCloud(np.eye(3, dtype=np.float32))
BAT = PointCloud(np.eye(3, dtype=np.float32) * 2)
OBJECTS = [ObjectQuery("cup", CUP), ObjectQuery("bat", BAT)]


def pipeline(**failing: InteractVLMError) -> Pipeline:
    surfaces = {"body": "", "cup": CUP.content_hash, "bat": BAT.content_hash}
    localization = Localization({surfaces[name]: error for name, error in failing.items()})
    return Pipeline(language=Language(), localization=localization)


async def test_one_failed_object_leaves_the_others() -> None:
    error = InputError("mesh", "is odd")
    found = await pipeline(cup=error).predict(PHOTO, objects=OBJECTS, person=WholePhoto(), partial=True)
    assert [(r.task, r.object_name) for r in found.results] == [
        (Task.SEMANTIC, "cup"),
        (Task.SEMANTIC, "bat"),
        (Task.OBJECT, "bat"),
    ]
    (failure,) = found.failures
    assert (failure.index, failure.task, failure.object_name, failure.error) == (2, Task.OBJECT, "cup", error)


async def test_without_partial_the_error_is_raised() -> None:
    with pytest.raises(InputError, match="is odd"):
        await pipeline(cup=InputError("mesh", "is odd")).predict(PHOTO, objects=OBJECTS)


async def test_when_everything_fails_the_error_is_raised() -> None:
    with pytest.raises(InputError, match="is odd"):
        await pipeline(body=InputError("body", "is odd")).predict(PHOTO, partial=True)


async def test_a_cancellation_is_no_partial_answer() -> None:
    with pytest.raises(CancelledError):
        await pipeline(cup=CancelledError("gone")).predict(PHOTO, objects=OBJECTS, partial=True)


async def test_a_person_is_not_passed_over_where_nobody_can_be_found() -> None:
    with pytest.raises(QuestionError, match="whole photos only"):
        await pipeline().predict(PHOTO, person=Box(0, 0, 16, 16))


@pytest.mark.parametrize("wrong", [{"objects": "chair"}, {"tasks": "binary"}])
def test_one_text_is_no_list_of_names(wrong: dict[str, str]) -> None:
    with InteractVLM(pipeline()) as model, pytest.raises(QuestionError, match="give a list"):
        model.predict(PHOTO, **wrong)  # type: ignore[arg-type]


class People:
    """Finds one person, alone in the photo."""

    async def choose(self, photo: np.ndarray, selector: object, *, context: CallContext) -> PersonChoice:
        return PersonChoice(person=Box(4, 4, 12, 12), region=None, notices=())


@pytest.mark.parametrize(("close_up", "shape"), [(False, (32, 32, 3)), (True, (12, 12, 3))])
async def test_a_model_that_wants_close_ups_sees_the_region_around_a_person_who_is_alone(
    close_up: bool, shape: tuple[int, ...]
) -> None:
    seen = []

    class Looking(Language):
        async def answer(self, photo: np.ndarray, *args: Any, **options: Any) -> list[ContactAnswer]:
            seen.append(photo.shape)
            return await super().answer(photo, *args, **options)

    language = Looking()
    language.close_up = close_up
    looking = Pipeline(language=language, localization=Localization({}), people=People())
    found = await looking.predict(PHOTO)
    assert seen == [shape]
    assert found.person == Box(4, 4, 12, 12)
    assert found.region == (Box(2, 2, 14, 14) if close_up else None)
