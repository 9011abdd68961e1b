"""The stages in process: the library's classes behind the pipeline's Protocols, one worker thread a device.

Models are not safe for calls from several threads, and two at once on one device only slow each other down: all stages
of a device share one worker, and the event loop stays free to cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate, load_template
from interactvlm.checkpoints.companions import BODY_FILES, BODY_RENDER_FILES, find_body_folder, find_vision_tower
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.manifest import checkpoint_hash
from interactvlm.config import Settings
from interactvlm.errors import CheckpointError, InputError, MissingDependencyError
from interactvlm.pipeline import Pipeline
from interactvlm.stages import CallContext, PersonChoice
from interactvlm.types import ContactAnswer, ModelIdentity, PersonSelector, Question, VertexContact

if TYPE_CHECKING:
    import torch

    from interactvlm.detection.detector import Detector
    from interactvlm.geometry.mesh import Mesh, PointCloud
    from interactvlm.mvloc.model import ContactLocalizer
    from interactvlm.vlm.model import ContactVLM

__all__ = ["LocalLanguage", "LocalLocalization", "LocalPeople", "Worker", "load_pipeline"]

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

    async def answer(
        self, photo: NDArray[np.uint8], questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        """See `LanguageStage`."""

        def work() -> list[ContactAnswer]:
            answers = self._model.answer([photo], [questions], fast=fast, should_stop=context.should_stop)
            return answers[0]

        try:
            return await self._worker.run(work, context)
        finally:
            context.check()  # a stop in the middle is told as what it was: a deadline or a cancellation


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
        return await self._worker.run(
            lambda: _with_zeros(answers, self._body.vertex_count, self._model.locate_body), context
        )

    async def object_contacts(
        self, surface: Mesh | PointCloud, answers: Sequence[ContactAnswer], *, context: CallContext
    ) -> list[VertexContact]:
        """See `LocalizationStage`."""
        from interactvlm.geometry.mesh import Mesh

        count = len(surface.vertices if isinstance(surface, Mesh) else surface.xyz)
        locate = self._model.locate_object
        return await self._worker.run(lambda: _with_zeros(answers, count, lambda e, t: locate(surface, e, t)), context)


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
    device, dtype = _placement(settings)
    tell(f"opening {settings.model}")
    folder, name = _checkpoint_folder(settings)
    config = ReleaseConfig.from_folder(folder)
    body_folder, body = _body(settings, folder, config)

    from interactvlm.mvloc.model import ContactLocalizer
    from interactvlm.mvloc.surfaces import OfficialBody
    from interactvlm.vlm.model import ContactVLM

    # The release's own renders are what its masks were trained on: preferred where the user has them all.
    rendered = body_folder is not None and all((body_folder / name).is_file() for name in BODY_RENDER_FILES)
    source = OfficialBody(body_folder, body.vertex_count) if body_folder and rendered else body
    tell("loading the localization model")
    localizer = ContactLocalizer.from_folder(
        folder,
        body=source,
        device=device,
        dtype=dtype,
        cache_dir=settings.cache_path / "views",
        cache_bytes=settings.cache_bytes,
    )
    tell("loading the language model")
    tower = settings.vision_tower or (None if config.vision_tower_dir else find_vision_tower(folder))
    vlm = ContactVLM.from_folder(folder, vision_tower=tower, device=device, dtype=dtype)
    tell("hashing the checkpoint")
    identity = ModelIdentity(
        name, checkpoint_hash(folder, cache=settings.cache_path), trained=config.trained, notice=config.notice
    )
    worker = Worker()
    pipeline = Pipeline(
        language=LocalLanguage(vlm, identity, worker),
        localization=LocalLocalization(localizer, body, worker),
        people=LocalPeople(_detector(), worker),
    )
    return pipeline, worker.close


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


def _checkpoint_folder(settings: Settings) -> tuple[Path, str]:
    if settings.model == "nano":
        from interactvlm.vlm.nano import assemble

        return assemble(settings.cache_path), "nano"
    folder = Path(settings.model)
    if not folder.is_dir():
        raise CheckpointError(settings.model, "is neither 'nano' nor a folder with a checkpoint")
    return folder, folder.resolve().name


def _body(settings: Settings, checkpoint: Path, config: ReleaseConfig) -> tuple[Path | None, BodyTemplate]:
    """The body that the checkpoint's human masks lie on, and the folder it came from."""
    if config.body_topology == "anny":
        return None, load_template("anny")
    given = Path(settings.body) if settings.body else find_body_folder(checkpoint)
    if given is None:
        raise CheckpointError(
            checkpoint, f"needs the body model {BODY_FILES[0]} in a folder `body` beside it; see `interactvlm doctor`"
        )
    file = given if given.is_file() else next((given / n for n in BODY_FILES if (given / n).is_file()), None)
    if file is None:
        raise CheckpointError(given, f"holds no body model: {' or '.join(BODY_FILES)}")
    return file.parent, load_template(config.body_topology, body_file=file)


def _placement(settings: Settings) -> tuple[torch.device, torch.dtype]:
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "vlm,mvloc") from None

    if settings.device == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        try:
            device = torch.device(settings.device)
        except RuntimeError:
            raise InputError("device", f"is {settings.device!r}; known: auto, cpu, cuda, cuda:N") from None
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise InputError("device", f"is {settings.device!r}; this machine has {torch.cuda.device_count()}")
    if settings.dtype == "auto":
        return device, torch.bfloat16 if device.type == "cuda" else torch.float32
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return device, dtypes[settings.dtype]


def _detector() -> Detector | None:
    from interactvlm.detection.embedded import EmbeddedDetector

    try:
        return EmbeddedDetector()
    except MissingDependencyError:
        return None  # `select_person` then says so in a notice
