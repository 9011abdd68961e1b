"""What is asked about an annotated photo, without its annotation.

This is the one door between the annotated samples and the model. An `Inquiry` holds a photo, a person's box and the
names and surfaces of objects; predictions are made from inquiries alone, in a module that never sees a sample, and
are written down before the truth is opened to score them (paper, section 4: the evaluator must generate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.datasets.sample import ContactSample
from interactvlm.errors import InputError
from interactvlm.photo import load_photo
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import Box, PersonSelector, Question, Task, WholePhoto

__all__ = ["Inquiry", "Truth", "blank", "inquiry_of", "shuffled", "truths_of"]

_GREY = 127


@dataclass(frozen=True, slots=True, eq=False)
class Inquiry:
    """One photo and the questions about it.

    Attributes:
        sample_id: of the sample it was made from; never shown to a model.
        photo: encoded photo.
        person: the person's box in pixels; None: the whole photo.
        objects: objects in the order in which they are asked about.
        tasks: in the order in which they are asked.
    """

    sample_id: str
    photo: bytes
    person: Box | None
    objects: tuple[ObjectQuery, ...]
    tasks: tuple[Task, ...]

    def pixels(self) -> NDArray[np.uint8]:
        """Upright RGB uint8 [H, W, 3]; raises PhotoError when the photo cannot be read."""
        return load_photo(self.photo)

    def selector(self) -> PersonSelector:
        """Whom the pipeline shall look at: nobody is detected, so that every model sees the same pixels."""
        return self.person if self.person is not None else WholePhoto()


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The annotation that one question of an inquiry is scored against.

    Attributes:
        question: the question.
        surface: content hash of the object's surface; "" for the body.
        values: float32 [V]; contact is > 0, heat lies in [0, 1].
        topology: body of human contact; "" for objects.
        category: DAMON's name of the object's category, "" where there is none.
        affordance: PIAD's word, "" where unknown.
    """

    question: Question
    surface: str
    values: NDArray[np.float32]
    topology: str = ""
    category: str = ""
    affordance: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Names the question within its photo: task, object name, surface."""
        return self.question.task.value, self.question.object_name, self.surface


def inquiry_of(sample: ContactSample, *, tasks: Sequence[Task] | None = None) -> Inquiry | None:
    """The questions a sample is annotated for.

    What is read: the photo, the person's box, which kinds of contact are annotated, and the objects' names and
    surfaces. What is not: any vertex, heat value, category, affordance, text or tag.

    Args:
        sample: an annotated photo.
        tasks: leave out all others (a model without an object head answers no OBJECT question).

    Returns:
        None where nothing is left to ask.
    """
    human = {contact.task for contact in sample.human}
    wanted = [task for task in Task if task in human or (task is Task.OBJECT and sample.objects)]
    if tasks is not None:
        wanted = [task for task in wanted if task in tasks]
    names = [contact.object_name for contact in sample.human if contact.task is Task.SEMANTIC]
    queries: dict[str, list[ObjectQuery]] = {name: [] for name in names if Task.SEMANTIC in wanted}
    for item in sample.objects if Task.OBJECT in wanted else ():
        queries.setdefault(item.object_name, []).append(ObjectQuery(item.object_name, item.surface))
    objects = [query for name, found in queries.items() for query in found or [ObjectQuery(name)]]
    if not wanted:
        return None
    return Inquiry(sample.sample_id, sample.photo, sample.person, tuple(objects), tuple(wanted))


def truths_of(sample: ContactSample, *, vertex_counts: Mapping[str, int]) -> list[Truth]:
    """Every annotation of a sample as something to score against.

    Two annotations that answer one question (two chairs, both called "chair") are united.

    Args:
        sample: an annotated photo.
        vertex_counts: V of each body topology.

    Raises:
        InputError: a vertex id or a number of values does not fit its surface.
    """
    found: list[Truth] = []
    for contact in sample.human:
        if contact.topology not in vertex_counts:
            raise InputError(
                sample.sample_id, f"is annotated on {contact.topology!r}; known here: {', '.join(vertex_counts)}"
            )
        values = np.zeros(vertex_counts[contact.topology], dtype=np.float32)
        ids = np.asarray(contact.vertex_ids)
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(values):
            raise InputError(
                sample.sample_id, f"names vertex {ids.max()} of the {len(values)} that {contact.topology} has"
            )
        values[ids] = 1
        question = Question(contact.task, contact.object_name if contact.task is Task.SEMANTIC else "")
        found.append(Truth(question, "", values, topology=contact.topology, category=contact.category))
    for item in sample.objects:
        points = getattr(item.surface, "vertices", None)
        count = len(item.surface.xyz if points is None else points)  # type: ignore[union-attr]
        if item.values.shape != (count,):
            raise InputError(sample.sample_id, f"has heat {list(item.values.shape)} for {count} vertices")
        found.append(
            Truth(
                Question(Task.OBJECT, item.object_name),
                item.surface.content_hash,
                np.asarray(item.values, dtype=np.float32),
                category=item.category,
                affordance=item.affordance,
            )
        )
    united: dict[tuple[str, str, str], Truth] = {}
    for truth in found:
        same = united.get(truth.key)
        united[truth.key] = truth if same is None else replace(same, values=np.maximum(same.values, truth.values))
    return list(united.values())


def blank(inquiries: Sequence[Inquiry]) -> list[Inquiry]:
    """The same questions about a grey picture of the same size: what a model says without looking."""

    def grey(inquiry: Inquiry) -> Inquiry:
        stream = BytesIO()
        Image.fromarray(np.full_like(inquiry.pixels(), _GREY)).save(stream, format="PNG")
        return replace(inquiry, photo=stream.getvalue())

    return [grey(inquiry) for inquiry in inquiries]


def shuffled(inquiries: Sequence[Inquiry], *, seed: int) -> list[Inquiry]:
    """The same questions, each about another inquiry's photo (and person): what a model says whatever it sees.

    Args:
        inquiries: at least two.
        seed: of the cyclic order in which photos are handed on; nobody keeps their own.

    Raises:
        InputError: there is only one photo.
    """
    if len(inquiries) < 2:
        raise InputError("shuffled photos", f"need at least 2 photos, there are {len(inquiries)}")
    order = np.random.default_rng(seed).permutation(len(inquiries))
    taken_from = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return [
        replace(inquiry, photo=inquiries[taken_from[i]].photo, person=inquiries[taken_from[i]].person)
        for i, inquiry in enumerate(inquiries)
    ]
