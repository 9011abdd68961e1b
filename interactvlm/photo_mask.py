"""The released 2D human-mask model (`multiview_channels` 1) as one call: photo to contact masks on the photo itself.

It has one view, the photo, and no body to lift to: the pipeline's answers do not fit it. So it is called by itself,
with the same questions, persons and settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.config import Settings
from interactvlm.errors import CancelledError
from interactvlm.loading import load_language, open_checkpoint
from interactvlm.local import load_detector
from interactvlm.photo import photo_from_array, photo_sha256
from interactvlm.pipeline import ObjectQuery, crop_photo, plan_questions
from interactvlm.stages import CallContext
from interactvlm.types import (
    Box,
    ContactAnswer,
    LargestPerson,
    MaskPrediction,
    ModelIdentity,
    PersonSelector,
    PhotoMask,
    Task,
)

if TYPE_CHECKING:
    from interactvlm.detection.detector import Detector
    from interactvlm.mvloc.human_mask_2d import HumanMask2D
    from interactvlm.vlm.model import ContactVLM

__all__ = ["PhotoMaskModel", "holds_photo_masks"]

Progress = Callable[[str], None]


def holds_photo_masks(settings: Settings) -> bool:
    """Whether the settings name a checkpoint of the 2D human-mask model.

    Raises:
        CheckpointError: its config.json cannot be used.
    """
    folder = Path(settings.model)
    if settings.model == "nano" or not (folder / "config.json").is_file():
        return False
    return ReleaseConfig.from_folder(folder).multiview_channels == 1


class PhotoMaskModel:
    """A loaded 2D human-mask checkpoint; not for several threads at once."""

    def __init__(
        self, *, language: ContactVLM, masks: HumanMask2D, identity: ModelIdentity, detector: Detector | None = None
    ) -> None:
        self._language = language
        self._masks = masks
        self._identity = identity
        self._detector = detector

    @classmethod
    def load(cls, settings: Settings, *, progress: Progress | None = None) -> PhotoMaskModel:
        """Load the checkpoint that `settings` names.

        Raises:
            CheckpointError: a file or tensor is missing or does not fit, or it is a model of several views.
            InputError: the device does not exist.
            MissingDependencyError: an optional package is not installed.
        """
        opened = open_checkpoint(settings)
        from interactvlm.mvloc.human_mask_2d import HumanMask2D

        tell = progress or (lambda _: None)
        tell("loading the mask model")
        masks = HumanMask2D.from_folder(opened.folder, device=opened.device, dtype=opened.dtype)
        tell("loading the language model")
        language = load_language(opened)
        tell("hashing the checkpoint")
        return cls(language=language, masks=masks, identity=opened.identity(), detector=load_detector())

    def predict(
        self,
        photo: NDArray[np.uint8],
        *,
        objects: Sequence[ObjectQuery] = (),
        tasks: Sequence[Task] | None = None,
        person: PersonSelector | None = None,
        fast: bool = False,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> MaskPrediction:
        """Contact of one person in one photo; arguments as `InteractVLM.predict`, the photo as an array.

        Raises:
            InputError: the photo, an object, the person or a task is not usable, such as a task about an object's mesh.
            DeadlineExceededError: `timeout` passed.
        """
        from interactvlm.detection.selection import select_person

        context = CallContext.within(timeout)
        seconds: dict[str, float] = {}

        @contextmanager
        def stage(name: str) -> Iterator[None]:
            context.check()
            if progress is not None:
                progress(name)
            begin = time.perf_counter()
            yield
            seconds[name] = time.perf_counter() - begin

        photo = photo_from_array(photo)
        questions = plan_questions(objects, tasks)
        with stage("person"):
            chosen = select_person(photo, person or LargestPerson(), self._detector)
        seen = np.ascontiguousarray(crop_photo(photo, chosen.crop))
        with stage("language"):
            try:
                (answers,) = self._language.answer([seen], [questions], fast=fast, should_stop=context.should_stop)
            except CancelledError:
                context.check()  # told as the deadline that it was
                raise
        with stage("localization"):
            masks = self._locate(photo.shape[:2], seen, chosen.crop, answers)
        notices = tuple(text for text in (self._identity.notice, chosen.notice) if text)
        return MaskPrediction(
            photo_sha256=photo_sha256(photo),
            photo_size=(photo.shape[0], photo.shape[1]),
            model=self._identity,
            results=tuple(
                PhotoMask(question.task, question.object_name, mask, answer.text, answer.confidence, answer.token)
                for question, answer, mask in zip(questions, answers, masks, strict=True)
            ),
            region=chosen.crop,
            person=chosen.person,
            timings=seconds,
            notices=notices,
        )

    def _locate(
        self, size: tuple[int, ...], seen: NDArray[np.uint8], region: Box | None, answers: Sequence[ContactAnswer]
    ) -> list[NDArray[np.float32]]:
        """A mask of the whole photo for each answer; no contact token, no contact."""
        masks = [np.zeros(size, dtype=np.float32) for _ in answers]
        held = [(i, a.embedding, a.token) for i, a in enumerate(answers) if a.embedding is not None and a.token]
        if not held:
            return masks
        logits = self._masks.predict(seen, np.stack([row for _, row, _ in held]), [token for _, _, token in held])
        probabilities = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        for (i, _, _), values in zip(held, probabilities, strict=True):
            crop_photo(masks[i], region)[...] = values
        return masks
