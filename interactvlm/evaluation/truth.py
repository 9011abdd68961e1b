"""The annotations of a data set, laid out for scoring: opened only after predictions are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample
from interactvlm.errors import InputError
from interactvlm.evaluation.damon import category_of
from interactvlm.evaluation.geodesic import SurfaceDistances
from interactvlm.evaluation.inquiry import Truth, truths_of
from interactvlm.objects.categories import Category, category
from interactvlm.types import Task

__all__ = ["HumanTruth", "ObjectTruth", "TruthSet", "collect_truths", "same_topology", "supercategory_of"]

_SAME_VERTICES = {"smplh": "smpl"}
"""SMPL and SMPL-H share vertices and faces."""


@dataclass(frozen=True, slots=True, eq=False)
class HumanTruth:
    """True contact on the body, for one question.

    Attributes:
        sample_id: the photo.
        key: the question (`Truth.key`).
        category: DAMON's name of the object's category; "" for BINARY and SCENE.
        template: the interaction and its hand ("hold, left"), where the data set tells them.
        unseen: whether the category is absent from training.
        vertices: int32 [n], ascending.
        distance: float16 [V], metres along the body to the nearest true vertex; None without one.
    """

    sample_id: str
    key: tuple[str, str, str]
    category: str
    template: str
    unseen: bool
    vertices: NDArray[np.int32]
    distance: NDArray[np.float16] | None

    @property
    def task(self) -> Task:
        """What was asked."""
        return Task(self.key[0])

    @property
    def touched(self) -> bool:
        """Whether there is any contact."""
        return len(self.vertices) > 0


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTruth:
    """True contact or heat on an object.

    Attributes:
        sample_id: the photo.
        key: the question (`Truth.key`).
        category: DAMON's name of the object's category, else the object's name.
        affordance: PIAD's word, "" where unknown.
        unseen: whether the category is absent from training.
        values: float32 [N] in [0, 1].
    """

    sample_id: str
    key: tuple[str, str, str]
    category: str
    affordance: str
    unseen: bool
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TruthSet:
    """All that predictions are scored against.

    Attributes:
        body: what human contact lies on.
        human: one entry a question about the body.
        objects: one entry a question about an object; those without any contact are left out, as PIAD does.
    """

    body: BodyTemplate
    human: tuple[HumanTruth, ...]
    objects: tuple[ObjectTruth, ...]

    @property
    def photos(self) -> tuple[str, ...]:
        """Sample ids, each once, in the order of the data set."""
        return tuple(dict.fromkeys([*(h.sample_id for h in self.human), *(o.sample_id for o in self.objects)]))


def same_topology(one: str, other: str) -> bool:
    """Whether contacts on one body are contacts on the other, vertex by vertex."""
    return _SAME_VERTICES.get(one, one) == _SAME_VERTICES.get(other, other)


def collect_truths(
    samples: Iterable[ContactSample],
    body: BodyTemplate,
    *,
    tasks: Sequence[Task] = tuple(Task),
    distances: bool = True,
    progress: Callable[[int], None] | None = None,
) -> TruthSet:
    """Read the annotations.

    Args:
        samples: the annotated photos.
        body: what their human contact lies on.
        tasks: leave out the others.
        distances: compute the distance fields (30 ms a question on the embedded body); without them there is no
            geodesic error.
        progress: called with the number of photos read.

    Raises:
        InputError: an annotation lies on another body, or does not fit it.
    """
    surface = SurfaceDistances(body.as_mesh()) if distances else None
    counts = {body.topology: body.vertex_count}
    human: list[HumanTruth] = []
    objects: list[ObjectTruth] = []
    for number, sample in enumerate(samples, start=1):
        for contact in sample.human:
            if not same_topology(contact.topology, body.topology):
                raise InputError(
                    sample.sample_id,
                    f"is annotated on the body {contact.topology!r}, scoring runs on {body.topology!r}: name the "
                    f"file of that body",
                )
            counts[contact.topology] = body.vertex_count
        unseen = sample.tags.get("unseen_category", "") not in ("", "0")
        for truth in truths_of(sample, vertex_counts=counts):
            if truth.question.task not in tasks:
                continue
            if truth.question.task is Task.OBJECT:
                if truth.values.max() > 0:
                    objects.append(_object(sample, truth, unseen))
                continue
            vertices = np.flatnonzero(truth.values).astype(np.int32)
            field = surface.to_nearest(vertices).astype(np.float16) if surface is not None and len(vertices) else None
            template = ", ".join(filter(None, (sample.tags.get("template", ""), sample.tags.get("hand", ""))))
            human.append(HumanTruth(sample.sample_id, truth.key, _category(truth), template, unseen, vertices, field))
        if progress is not None:
            progress(number)
    return TruthSet(body, tuple(human), tuple(objects))


def _category(truth: Truth) -> str:
    """DAMON's name, else our own catalogue's (synonyms are one category), else the name itself."""
    if truth.category or truth.question.task in (Task.BINARY, Task.SCENE):
        return truth.category
    known = _known(truth.question.object_name)
    name = known.damon or known.name if known is not None else truth.question.object_name
    return name.strip().lower().replace(" ", "_")


def supercategory_of(category: str) -> str:
    """One of the published seven categories of objects, "other" when it is none of them; "" for no category."""
    if not category:
        return ""
    known = _known(category.replace("_", " "))
    return known.supercategory if known is not None else category_of(category)


def _known(name: str) -> Category | None:
    try:
        return category(name)
    except InputError:
        return None


def _object(sample: ContactSample, truth: Truth, unseen: bool) -> ObjectTruth:
    return ObjectTruth(sample.sample_id, truth.key, _category(truth), truth.affordance, unseen, truth.values)
