"""The stages in process: the library's classes behind the pipeline's Protocols, one worker thread a device.

Models are not safe for calls from several threads, and two at once on one device only slow each other down: all stages
of a device share one worker, and the event loop stays free to cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactvlm.config import Settings
from interactvlm.errors import CancelledError, MissingDependencyError
from interactvlm.loading import load_language, load_localizer, open_checkpoint
from interactvlm.pipeline import Pipeline
from interactvlm.stages import CallContext, PersonChoice
from interactvlm.types import Box, ContactAnswer, ModelIdentity, PersonSelector, Question, VertexContact, WholePhoto

if TYPE_CHECKING:
    from interactvlm.body.template import BodyTemplate
    from interactvlm.detection.detector import Detector
    from interactvlm.geometry.mesh import Mesh, PointCloud
    from interactvlm.mvloc.model import ContactLocalizer
    from interactvlm.vlm.model import ContactVLM

__all__ = ["LocalLanguage", "LocalLocalization", "LocalPeople", "Worker", "load_detector", "load_pipeline"]

T = TypeVar("T")
Progress = Callable[[str], None]


class Worker:
    """One thread that runs one device's work, a call at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="interactvlm-device")

    async def run(self, work: Callable[[], T], context: CallContext) -> T:
        """Run `work` on the device's thread; work whose caller is gone when its turn comes never starts."""

        def when_due() -> T:
            context.check()
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, when_due)
        except asyncio.CancelledError:
            context.cancel()
            raise

    def close(self) -> None:
        """Let the running call end and stop the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class LocalPeople:
    """Finds the chosen person with a detector."""

    def __init__(self, detector: Detector | None, worker: Worker) -> None:
        self._detector = detector
        self._worker = worker

    async def choose(self, photo: NDArray[np.uint8], selector: PersonSelector, *, context: CallContext) -> PersonChoice:
        """See `PersonStage`."""
        from interactvlm.detection.selection import select_person

        if isinstance(selector, Box | WholePhoto):  # nobody has to be looked for
            chosen = select_person(photo, selector, None)
        else:
            chosen = await self._worker.run(lambda: select_person(photo, selector, self._detector), context)
        notices = (chosen.notice,) if chosen.notice else ()
        return PersonChoice(person=chosen.person, region=chosen.crop, notices=notices)


class LocalLanguage:
    """Psi and Gamma in process."""

    def __init__(self, model: ContactVLM, identity: ModelIdentity, worker: Worker) -> None:
        self._model = model
        self._identity = identity
        self._worker = worker

    @property
    def identity(self) -> ModelIdentity:
        """See `LanguageStage`."""
        return self._identity

    @property
    def close_up(self) -> bool:
        """See `LanguageStage`."""
        return self._identity.close_up

    async def answer(
        self, photo: NDArray[np.uint8], questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        """See `LanguageStage`."""

        def work() -> list[ContactAnswer]:
            answers = self._model.answer([photo], [questions], fast=fast, should_stop=context.should_stop)
            return answers[0]

        return await _stoppable(self._worker, work, context)


class LocalLocalization:
    """Phi, Theta, Omega and the lift in process."""

    def __init__(self, model: ContactLocalizer, body: BodyTemplate, worker: Worker) -> None:
        self._model = model
        self._body = body
        self._worker = worker

    @property
    def body(self) -> BodyTemplate:
        """See `LocalizationStage`."""
        return self._body

    async def body_contacts(self, answers: Sequence[ContactAnswer], *, context: CallContext) -> list[VertexContact]:
        """See `LocalizationStage`."""
        return await self._located(answers, self._body.vertex_count, self._model.locate_body, context)

    async def object_contacts(
        self, surface: Mesh | PointCloud, answers: Sequence[ContactAnswer], *, context: CallContext
    ) -> list[VertexContact]:
        """See `LocalizationStage`."""
        from interactvlm.geometry.mesh import Mesh

        count = len(surface.vertices if isinstance(surface, Mesh) else surface.xyz)
        return await self._located(answers, count, partial(self._model.locate_object, surface), context)

    async def _located(
        self,
        answers: Sequence[ContactAnswer],
        count: int,
        locate: Callable[..., list[VertexContact]],
        context: CallContext,
    ) -> list[VertexContact]:
        located = partial(locate, should_stop=context.should_stop)
        return await _stoppable(self._worker, lambda: _with_zeros(answers, count, located), context)


def load_pipeline(settings: Settings, *, progress: Progress | None = None) -> tuple[Pipeline, Callable[[], None]]:
    """Load a model set and put the pipeline together.

    Args:
        settings: which model, where, in what.
        progress: called with a sentence as each part is loaded.

    Returns:
        The pipeline, and a function that releases its thread.

    Raises:
        CheckpointError: the checkpoint folder or a file beside it is missing or inconsistent.
        InputError: the device does not exist.
        MissingDependencyError: an optional package is not installed.
    """
    tell = progress or (lambda _: None)
    tell(f"opening {settings.model}")
    opened = open_checkpoint(settings)
    tell("loading the localization model")
    localizer, body = load_localizer(opened)
    tell("loading the language model")
    vlm = load_language(opened)
    tell("hashing the checkpoint")
    identity = opened.identity()
    worker = Worker()
    pipeline = Pipeline(
        language=LocalLanguage(vlm, identity, worker),
        localization=LocalLocalization(localizer, body, worker),
        people=LocalPeople(load_detector(), worker),
    )
    return pipeline, worker.close


async def _stoppable(worker: Worker, work: Callable[[], T], context: CallContext) -> T:
    """Run work that asks `context.should_stop`; a stop in the middle is told as a deadline or as a cancellation."""
    try:
        return await worker.run(work, context)
    except CancelledError:
        context.check()
        raise


def _with_zeros(
    answers: Sequence[ContactAnswer],
    count: int,
    locate: Callable[[NDArray[np.float32], Sequence[str]], list[VertexContact]],
) -> list[VertexContact]:
    """Locate the answers that hold a contact token; the others are no contact at all."""
    contacts = [VertexContact(np.zeros(count, dtype=np.float32)) for _ in answers]
    held = [(i, a.embedding, a.token) for i, a in enumerate(answers) if a.embedding is not None and a.token]
    if held:
        located = locate(np.stack([embedding for _, embedding, _ in held]), [token for _, _, token in held])
        for (i, _, _), contact in zip(held, located, strict=True):
            contacts[i] = contact
    return contacts


def load_detector() -> Detector | None:
    """The embedded person detector; None where its package is not installed."""
    from interactvlm.detection.embedded import EmbeddedDetector

    try:
        return EmbeddedDetector()
    except MissingDependencyError:
        return None  # `select_person` then says so in a notice
