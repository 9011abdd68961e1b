"""Predictions by generation: every inquiry through the pipeline, in fixed groups, resumable.

Nothing here, nor below it, knows an annotation: what comes in are inquiries.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from interactvlm.config import Settings
from interactvlm.errors import CancelledError, DeadlineExceededError, InputError, InteractVLMError
from interactvlm.evaluation.features import Features, photo_features
from interactvlm.evaluation.inquiry import Inquiry
from interactvlm.evaluation.predictions import FORMAT, Answer, PredictionStore
from interactvlm.pipeline import Pipeline
from interactvlm.types import Prediction, Target, Task

__all__ = ["EvaluatedModel", "Together", "open_model", "predict_all", "predict_each"]

Progress = Callable[[int, int], None]


class Together(Protocol):
    """Runs the pipeline calls of one group; what each returned or raised, in order."""

    async def __call__(
        self, calls: Sequence[Coroutine[Any, Any, Prediction]], /
    ) -> Sequence[Prediction | BaseException]:
        """See the class."""
        ...


async def predict_each(calls: Sequence[Coroutine[Any, Any, Prediction]], /) -> Sequence[Prediction | BaseException]:
    """Calls side by side, each photo on its own: for stages that batch by themselves, or do not."""
    return list(await asyncio.gather(*calls, return_exceptions=True))


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """A model ready to be evaluated.

    Attributes:
        pipeline: photo to contacts.
        tasks: what it has heads for.
        together: how one group of calls is run.
        features: reads photos through the model's frozen vision tower, for the regressor that is compared with it;
            None where the tower is out of reach.
    """

    pipeline: Pipeline
    tasks: tuple[Task, ...] = tuple(Task)
    together: Together = predict_each
    features: Callable[[Sequence[Inquiry], Progress], Features] | None = None


@contextmanager
def open_model(settings: Settings, *, progress: Callable[[str], None] | None = None) -> Iterator[EvaluatedModel]:
    """Load a model set so that several photos are read as one batch.

    Raises:
        CheckpointError, InputError, MissingDependencyError: as `interactvlm.local.load_pipeline`.
    """
    from interactvlm.evaluation.batching import BatchedLanguage
    from interactvlm.loading import load_language, load_localizer, open_checkpoint
    from interactvlm.local import LocalLocalization, LocalPeople, Worker

    tell = progress or (lambda _: None)
    opened = open_checkpoint(settings)
    tell("loading the localization model")
    localizer, body = load_localizer(opened)
    tell("loading the language model")
    vlm = load_language(opened)
    worker = Worker()
    language = BatchedLanguage(vlm, opened.identity(), worker)
    pipeline = Pipeline(
        language=language,
        localization=LocalLocalization(localizer, body, worker),
        people=LocalPeople(None, worker),
    )
    heads = {Target.HUMAN: opened.config.has_human_head, Target.OBJECT: opened.config.has_object_head}
    try:
        yield EvaluatedModel(
            pipeline,
            tasks=tuple(task for task in Task if heads[task.target]),
            together=language.together,
            features=lambda inquiries, tell: photo_features(
                vlm.vision, inquiries, cache_dir=settings.cache_path / "evaluation", progress=tell
            ),
        )
    finally:
        worker.close()


def predict_all(
    model: EvaluatedModel,
    inquiries: Sequence[Inquiry],
    folder: Path,
    *,
    photos_per_batch: int = 8,
    fast: bool = False,
    progress: Progress | None = None,
) -> PredictionStore:
    """Answer every inquiry; groups that a former, interrupted run finished are not computed again.

    Args:
        model: who answers.
        inquiries: what is asked.
        folder: of the run.
        photos_per_batch: photos in a group: part of what the run is, since batches move floats.
        fast: force the answers' beginning instead of generating them; such numbers are told apart.
        progress: called with (photos done, photos in all).

    Returns:
        The run's answers, in the order of the inquiries. A question that failed has an answer with `error`.

    Raises:
        InputError: the folder holds another run, or `photos_per_batch` is not positive.
    """
    if photos_per_batch < 1:
        raise InputError("photos_per_batch", f"is {photos_per_batch}; at least 1 is needed")
    language = model.pipeline.language.identity
    identity = {
        "format": FORMAT,
        "model": language.name,
        "checkpoint": language.checkpoint_hash,
        "fast": fast,
        "photos_per_batch": photos_per_batch,
        "photos": len(inquiries),
        "inquiries": _digest(inquiries),
    }
    store = PredictionStore(folder, identity)
    groups = [inquiries[i : i + photos_per_batch] for i in range(0, len(inquiries), photos_per_batch)]
    open_groups = [(part, group) for part, group in enumerate(groups) if not store.has(part)]
    done = len(inquiries) - sum(len(group) for _, group in open_groups)

    async def run() -> None:
        nonlocal done
        for part, group in open_groups:
            store.save(part, await _predict_group(model, group, fast))
            done += len(group)
            if progress is not None:
                progress(done, len(inquiries))

    if progress is not None:
        progress(done, len(inquiries))
    asyncio.run(run())
    return store


async def _predict_group(model: EvaluatedModel, group: Sequence[Inquiry], fast: bool) -> list[Answer]:
    calls = [_predict(model.pipeline, inquiry, fast) for inquiry in group]
    answers: list[Answer] = []
    for inquiry, outcome in zip(group, await model.together(calls), strict=True):
        if isinstance(outcome, InteractVLMError) and not isinstance(outcome, CancelledError | DeadlineExceededError):
            answers += [_failed(inquiry, key, outcome) for key in _keys(inquiry)]
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            answers += _answers(inquiry, outcome)
    return answers


async def _predict(pipeline: Pipeline, inquiry: Inquiry, fast: bool) -> Prediction:
    pixels = inquiry.pixels()  # not in a thread: calls reach the stages in the order of the photos
    return await pipeline.predict(
        pixels, objects=inquiry.objects, tasks=inquiry.tasks, person=inquiry.selector(), fast=fast, partial=True
    )


def _answers(inquiry: Inquiry, prediction: Prediction) -> list[Answer]:
    results, failures = iter(prediction.results), {failure.index: failure for failure in prediction.failures}
    answers = []
    for index, key in enumerate(_keys(inquiry)):
        if failure := failures.get(index):
            answers.append(_failed(inquiry, key, failure.error))
            continue
        result = next(results)
        answers.append(
            Answer(
                inquiry.sample_id,
                key,
                result.probabilities,
                text=result.text,
                parts=result.parts_named,
                contact_token=result.contact_token is not None,
            )
        )
    return answers


def _keys(inquiry: Inquiry) -> list[tuple[str, str, str]]:
    """Names of the questions, in the order in which the pipeline answers them (`plan_questions`)."""
    keys: list[tuple[str, str, str]] = []
    for task in inquiry.tasks:
        if task in (Task.BINARY, Task.SCENE):
            keys.append((task.value, "", ""))
        elif task is Task.SEMANTIC:
            keys += [(task.value, item.name, "") for item in inquiry.objects]
        else:
            keys += [
                (task.value, item.name, item.surface.content_hash)
                for item in inquiry.objects
                if item.surface is not None
            ]
    return keys


def _failed(inquiry: Inquiry, key: tuple[str, str, str], error: Exception) -> Answer:
    return Answer(inquiry.sample_id, key, np.zeros(0, dtype=np.float32), error=f"{type(error).__name__}: {error}")


def _digest(inquiries: Sequence[Inquiry]) -> str:
    digest = hashlib.sha256()
    for inquiry in inquiries:
        digest.update(repr((inquiry.sample_id, inquiry.person, _keys(inquiry))).encode())
        digest.update(hashlib.sha256(inquiry.photo).digest())
    return digest.hexdigest()
