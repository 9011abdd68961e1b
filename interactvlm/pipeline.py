"""One photo, one person, many objects and tasks, one call (paper, section 3 and figure 2).

The pipeline knows what depends on what and nothing else: who answers is behind the Protocols of `stages`. All
questions about a photo go to the language stage together, so that they share the work done on the photo.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.parts import parts_in_contact
from interactvlm.errors import CancelledError, DeadlineExceededError, InteractVLMError, QuestionError
from interactvlm.photo import photo_from_array, photo_sha256
from interactvlm.stages import CallContext, LanguageStage, LocalizationStage, PersonChoice, PersonStage
from interactvlm.types import (
    Box,
    ContactAnswer,
    LargestPerson,
    PersonSelector,
    Prediction,
    Question,
    Target,
    Task,
    TaskFailure,
    TaskResult,
    VertexContact,
    WholePhoto,
)

if TYPE_CHECKING:
    from interactvlm.geometry.mesh import Mesh, PointCloud

__all__ = [
    "HUMAN_THRESHOLD",
    "MAX_QUESTIONS",
    "OBJECT_THRESHOLD",
    "ObjectQuery",
    "Pipeline",
    "crop_photo",
    "plan_questions",
]

#: A body vertex is touched from this probability on (paper, section 4).
HUMAN_THRESHOLD = 0.5
#: An object vertex likewise (release: the joint fit's threshold for objects).
OBJECT_THRESHOLD = 0.3
#: Questions one call may ask about one photo.
MAX_QUESTIONS = 64
#: Bytes that are hashed sooner (0.2 ms) than another thread has taken them over and back.
_QUICKLY_HASHED = 256 * 2**10

Progress = Callable[[str], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ObjectQuery:
    """An object in the photo.

    Attributes:
        name: its everyday name ("tennis racket").
        surface: its mesh or points, where contact on the object is asked for.
    """

    name: str
    surface: Mesh | PointCloud | None = None


@dataclass(frozen=True, slots=True)
class _PlannedQuestion:
    question: Question
    surface: Mesh | PointCloud | None = None


def plan_questions(objects: Sequence[ObjectQuery], tasks: Sequence[Task] | None) -> list[Question]:
    """The questions one call asks, in the order of its results.

    Args:
        objects: the objects named.
        tasks: what to ask; None asks SEMANTIC for every object, OBJECT for every object that has a surface, and BINARY
            when no object is named.

    Raises:
        QuestionError: a task needs an object (or its mesh) that is not given, or there are too many questions.
    """
    return [planned.question for planned in _plan(objects, tasks)]


def _region(choice: PersonChoice | None, photo: NDArray[np.uint8], *, close_up: bool) -> Box | None:
    """What of the photo the model sees; None: all of it."""
    if choice is None or choice.region is not None or choice.person is None or not close_up:
        return choice.region if choice else None
    from interactvlm.detection.selection import crop_for

    return crop_for(choice.person, (photo.shape[1], photo.shape[0]))


def _plan(objects: Sequence[ObjectQuery], tasks: Sequence[Task] | None) -> list[_PlannedQuestion]:
    with_surface = [item for item in objects if item.surface is not None]
    if tasks is None:
        tasks = [Task.SEMANTIC, *([Task.OBJECT] if with_surface else [])] if objects else [Task.BINARY]
    planned: list[_PlannedQuestion] = []
    for task in dict.fromkeys(tasks):
        if task in (Task.BINARY, Task.SCENE):
            planned.append(_PlannedQuestion(Question(task)))
        elif task is Task.SEMANTIC:
            if not objects:
                raise QuestionError("task", "semantic needs at least one object name")
            planned += [_PlannedQuestion(Question(task, item.name)) for item in objects]
        else:
            if not with_surface:
                raise QuestionError("task", "object needs at least one object with a mesh or point cloud")
            planned += [_PlannedQuestion(Question(task, item.name), item.surface) for item in with_surface]
    if not planned:
        raise QuestionError("task", "is empty: nothing is asked")
    if len(planned) > MAX_QUESTIONS:
        raise QuestionError("objects", f"ask {len(planned)} questions; the limit is {MAX_QUESTIONS} a photo")
    return planned


class Pipeline:
    """Photo to contacts over the given stages.

    Args:
        language: Psi and Gamma.
        localization: Phi, Theta, Omega and the lift.
        people: finds the chosen person; None where only the whole photo is ever asked for.
    """

    def __init__(
        self, *, language: LanguageStage, localization: LocalizationStage, people: PersonStage | None = None
    ) -> None:
        self.language = language
        self.localization = localization
        self.people = people

    async def predict(
        self,
        photo: NDArray[np.uint8],
        *,
        objects: Sequence[ObjectQuery] = (),
        tasks: Sequence[Task] | None = None,
        person: PersonSelector | None = None,
        fast: bool = False,
        partial: bool = False,
        context: CallContext | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Contacts of one person in one photo.

        Args:
            photo: upright RGB uint8 [H, W, 3].
            objects: objects to ask about; several share the photo's work.
            tasks: what to ask (see `plan_questions`).
            person: whom; default the largest person in the photo.
            fast: force the answer's beginning instead of generating it: quicker, less accurate, names no parts.
            partial: when one surface fails, answer for the others and tell it in `failures`; by default, and when
                every surface fails, the error is raised.
            context: deadline and cancellation.
            progress: called with each stage's name as it begins.

        Returns:
            One result a question, in the order of `plan_questions`.

        Raises:
            InputError: the photo, an object, the person or a task is not usable.
            DeadlineExceededError, CancelledError: as the context says.
        """
        context = context or CallContext()
        photo = photo_from_array(photo)
        plan = _plan(objects, tasks)
        clock = _StageClock(context, progress)
        with clock.stage("person"):
            choice = None
            if self.people is not None:
                choice = await self.people.choose(photo, person or LargestPerson(), context=context)
            elif person is not None and not isinstance(person, WholePhoto):
                raise QuestionError("person", "cannot be chosen: this pipeline looks at whole photos only")
        region = _region(choice, photo, close_up=self.language.close_up)
        with clock.stage("language"):
            seen = np.ascontiguousarray(crop_photo(photo, region))
            questions = [item.question for item in plan]
            answers = await self.language.answer(seen, questions, fast=fast, context=context)
        with clock.stage("localization"):
            contacts = await self._localize(plan, answers, context, partial)
        identity = self.language.identity
        notices = (*((identity.notice,) if identity.notice else ()), *(choice.notices if choice else ()))
        return Prediction(
            photo_sha256=await _hashed(photo),
            photo_size=(photo.shape[0], photo.shape[1]),
            model=identity,
            results=tuple(
                self._result(item, answer, contact)
                for item, answer, contact in zip(plan, answers, contacts, strict=True)
                if not isinstance(contact, InteractVLMError)
            ),
            region=region,
            person=choice.person if choice else None,
            timings=clock.seconds,
            notices=notices,
            failures=tuple(
                TaskFailure(index, item.question.task, item.question.object_name, contact)
                for index, (item, contact) in enumerate(zip(plan, contacts, strict=True))
                if isinstance(contact, InteractVLMError)
            ),
        )

    async def _localize(
        self, plan: Sequence[_PlannedQuestion], answers: Sequence[ContactAnswer], context: CallContext, partial: bool
    ) -> list[VertexContact | InteractVLMError]:
        """Contacts in the plan's order: one call for the body, one for each distinct object surface, side by side."""
        by_surface: dict[str, list[int]] = {}
        for index, item in enumerate(plan):
            key = item.surface.content_hash if item.surface is not None else ""
            by_surface.setdefault(key, []).append(index)

        async def locate(indices: list[int]) -> list[VertexContact] | InteractVLMError:
            group = [answers[i] for i in indices]
            surface = plan[indices[0]].surface
            try:
                if surface is None:
                    return await self.localization.body_contacts(group, context=context)
                return await self.localization.object_contacts(surface, group, context=context)
            except (CancelledError, DeadlineExceededError):
                raise  # the caller's doing, not the surface's
            except InteractVLMError as error:
                if not partial:
                    raise
                return error

        located = await _side_by_side([locate(indices) for indices in by_surface.values()])
        failed = [outcome for outcome in located if isinstance(outcome, InteractVLMError)]
        if len(failed) == len(located):
            raise failed[0]
        found: dict[int, VertexContact | InteractVLMError] = {}
        for indices, outcome in zip(by_surface.values(), located, strict=True):
            each = [outcome] * len(indices) if isinstance(outcome, InteractVLMError) else outcome
            found.update(zip(indices, each, strict=True))
        return [found[i] for i in range(len(plan))]

    def _result(self, item: _PlannedQuestion, answer: ContactAnswer, contact: VertexContact) -> TaskResult:
        task = item.question.task
        on_body = task.target is Target.HUMAN
        threshold = HUMAN_THRESHOLD if on_body else OBJECT_THRESHOLD
        body = self.localization.body
        surface = body.topology if item.surface is None else item.surface.content_hash
        touched = contact.probabilities >= threshold
        return TaskResult(
            task=task,
            object_name=item.question.object_name,
            probabilities=contact.probabilities,
            threshold=threshold,
            surface=surface,
            text=answer.text,
            confidence=answer.confidence,
            parts_named=answer.parts,
            parts_touched=parts_in_contact(touched, body.part_index) if on_body else (),
            affordance=answer.affordance,
            contact_token=answer.token,
            view_logits=contact.view_logits,
        )


class _StageClock:
    """Measures stages and checks the deadline between them."""

    def __init__(self, context: CallContext, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._context = context
        self._progress = progress

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._context.check()
        if self._progress is not None:
            self._progress(name)
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin
        self._context.check()


async def _hashed(photo: NDArray[np.uint8]) -> str:
    if photo.nbytes <= _QUICKLY_HASHED:
        return photo_sha256(photo)
    return await asyncio.to_thread(photo_sha256, photo)


async def _side_by_side(calls: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Results in order; the first error ends the other calls before it is raised."""
    if len(calls) == 1:
        return [await calls[0]]
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def crop_photo(photo: NDArray[Any], region: Box | None) -> NDArray[Any]:
    """The part of a photo, or of a mask over it, that lies in a region of whole pixels: a view, not a copy."""
    if region is None:
        return photo
    left, top, right, bottom = (round(v) for v in (region.left, region.top, region.right, region.bottom))
    return photo[top:bottom, left:right]
