"""A small world: a body of a few hundred vertices, photos of one colour, and stages that answer by the colour."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample, HumanContact, ObjectContact, TextAnswer
from interactvlm.evaluation.runner import EvaluatedModel
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.pipeline import Pipeline
from interactvlm.stages import CallContext, PersonChoice
from interactvlm.types import ContactAnswer, ModelIdentity, Question, Task, VertexContact

CUP = PointCloud(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))


def photo_of(colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((32, 40, 3), colour, np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


@dataclass
class Seen:
    """Everything the language stage was shown."""

    photos: list[np.ndarray] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def as_bytes(self) -> bytes:
        return b"".join(photo.tobytes() for photo in self.photos) + repr(self.questions).encode()


class Language:
    identity = ModelIdentity("fake", "0" * 64)
    close_up = False

    def __init__(self, seen: Seen, fail_on: str = "") -> None:
        self.seen, self.fail_on = seen, fail_on

    async def answer(
        self, photo: np.ndarray, questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        self.seen.photos.append(photo)
        self.seen.questions += questions
        found = []
        for question in questions:
            if question.object_name == self.fail_on != "":
                raise KeyboardInterrupt
            embedding = np.zeros(256, np.float32)
            embedding[:3] = photo[0, 0] / 255
            embedding[3] = len(question.object_name)
            found.append(ContactAnswer("It is [SEG]", embedding, "[SEG]", 1.0, parts=("left hand",)))
        return found


class Localization:
    """Contact: as many vertices as the photo is red, from a place that depends on the question."""

    def __init__(self, body: BodyTemplate) -> None:
        self.body = body

    async def body_contacts(self, answers: Sequence[ContactAnswer], *, context: CallContext) -> list[VertexContact]:
        return [VertexContact(self._ramp(answer, self.body.vertex_count)) for answer in answers]

    async def object_contacts(
        self, surface: Mesh | PointCloud, answers: Sequence[ContactAnswer], *, context: CallContext
    ) -> list[VertexContact]:
        return [VertexContact(self._ramp(answer, len(surface.xyz))) for answer in answers]

    def _ramp(self, answer: ContactAnswer, count: int) -> np.ndarray:
        rolled = np.roll(np.linspace(0, 1, count), int(answer.embedding[3]) * 7)
        return (rolled * answer.embedding[0]).astype(np.float32)


class People:
    async def choose(self, photo: np.ndarray, selector: object, *, context: CallContext) -> PersonChoice:
        return PersonChoice()


def model_of(seen: Seen, body: BodyTemplate, fail_on: str = "") -> EvaluatedModel:
    def features(inquiries, tell):
        means = {i.sample_id: i.pixels().reshape(-1, 3).mean(0) / 255 for i in inquiries}
        tell(len(inquiries), len(inquiries))
        return {name: np.tile(mean, (64, 2)).astype(np.float16) for name, mean in means.items()}

    pipeline = Pipeline(language=Language(seen, fail_on), localization=Localization(body), people=People())
    return EvaluatedModel(pipeline, features=features)


def sample_of(
    index: int,
    body: BodyTemplate,
    *,
    touched: Sequence[int],
    name: str = "cup",
    heat: np.ndarray | None = None,
    template: str = "hold_left",
    untouched: str = "chair",
    words: str = "the left hand",
    **tags: str,
) -> ContactSample:
    ids = np.array(sorted(touched), np.int32)
    human = [
        HumanContact(Task.BINARY, "", ids, "anny"),
        HumanContact(Task.SEMANTIC, name, ids, "anny", category=name.replace(" ", "_")),
        HumanContact(Task.SEMANTIC, untouched, np.zeros(0, np.int32), "anny", category=untouched),
    ]
    return ContactSample(
        sample_id=f"{index:04d}",
        photo=photo_of((20 + 30 * (index % 8), 60, 90)),
        human=tuple(human),
        objects=() if heat is None else (ObjectContact(name, CUP, heat.astype(np.float32), "grasp", name),),
        texts=(TextAnswer("body parts", "Which parts touch?", words),),
        tags={"template": template, **tags},
    )
