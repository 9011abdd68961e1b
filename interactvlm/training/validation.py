"""Validation by generation: the model in training answers a few held-out photos through the ordinary pipeline.

Nothing of an annotation reaches the model: questions are made by `evaluation.inquiry`, and scored afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample
from interactvlm.evaluation.inquiry import Inquiry, inquiry_of, truths_of
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.pipeline import HUMAN_THRESHOLD, Pipeline
from interactvlm.stages import CallContext, PersonChoice
from interactvlm.training.model import TrainableModel
from interactvlm.training.surfaces import TrainingSurface, TrainingSurfaces
from interactvlm.types import Box, ContactAnswer, ModelIdentity, PersonSelector, Question, Task, VertexContact
from interactvlm.vlm.model import ContactVLM

__all__ = ["LiveModel", "validate"]


class LiveModel:
    """All stages of a pipeline, on the model that is being trained.

    Args:
        vlm: Psi and Gamma around the model's own network.
        model: the rest.
        surfaces: the body and objects.
        template: the body.
        autocast: what the model is computed in.
    """

    identity = ModelIdentity("in training", "0" * 64, trained=False, notice="in training")
    close_up = False  # validation names the person by a box

    def __init__(
        self,
        *,
        vlm: ContactVLM,
        model: TrainableModel,
        surfaces: TrainingSurfaces,
        template: BodyTemplate,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.body = template
        self._vlm = vlm
        self._model = model
        self._surfaces = surfaces
        self._autocast = autocast

    async def choose(self, photo: NDArray[np.uint8], selector: PersonSelector, *, context: CallContext) -> PersonChoice:
        """See `PersonStage`: the given box or the whole photo, nobody is detected."""
        from interactvlm.detection.selection import select_person

        chosen = select_person(photo, selector, None)
        return PersonChoice(person=selector if isinstance(selector, Box) else None, region=chosen.crop)

    async def answer(
        self, photo: NDArray[np.uint8], questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        """See `LanguageStage`."""
        with self._autocast():
            return self._vlm.answer([photo], [questions], fast=fast)[0]

    async def body_contacts(self, answers: Sequence[ContactAnswer], *, context: CallContext) -> list[VertexContact]:
        """See `LocalizationStage`."""
        return self._locate(self._surfaces.body, answers)

    async def object_contacts(
        self, surface: Mesh | PointCloud, answers: Sequence[ContactAnswer], *, context: CallContext
    ) -> list[VertexContact]:
        """See `LocalizationStage`."""
        return self._locate(self._surfaces.prepare(surface), answers)

    @torch.inference_mode()
    def _locate(self, place: TrainingSurface, answers: Sequence[ContactAnswer]) -> list[VertexContact]:
        contacts = [VertexContact(np.zeros(place.surface.lift.count, dtype=np.float32)) for _ in answers]
        held = [(i, a.embedding, a.token) for i, a in enumerate(answers) if a.embedding is not None and a.token]
        if held:
            rows = torch.from_numpy(np.stack([embedding for _, embedding, _ in held])).to(self._model.device)
            with self._autocast():
                logits = self._model.masks(place.surface, rows, [token for _, _, token in held])
            lifted = place.surface.lift(logits.float()).clamp(0, 1).cpu().numpy()
            for (i, _, _), values in zip(held, lifted, strict=True):
                contacts[i] = VertexContact(values)
        return contacts


def validate(
    live: LiveModel, samples: Sequence[ContactSample], *, tasks: Sequence[Task] | None = None
) -> dict[str, float]:
    """Scores of generated answers.

    Args:
        live: the model.
        samples: held-out photos.
        tasks: what the model can be asked.

    Returns:
        "binary_f1" and "semantic_f1" (means over questions whose truth holds contact), "no_contact" (share of
        untouched objects answered with zero contact), "object_sim" (overlap of normalised heat), each where there are
        such questions, and "score", the mean of what is there.
    """
    body = live.body
    # SMPL and SMPL-H share one order of vertices; data sets say either.
    names = ("smpl", "smplh") if body.topology in ("smpl", "smplh") else (body.topology,)
    counts = dict.fromkeys(names, body.vertex_count)
    pipeline = Pipeline(language=live, localization=live, people=live)
    found: dict[str, list[float]] = {}
    for sample in samples:
        inquiry = inquiry_of(sample, tasks=tasks)
        if inquiry is None:
            continue
        answers = asyncio.run(_ask(pipeline, inquiry))
        for truth in truths_of(sample, vertex_counts=counts):
            values = answers.get(truth.key)
            if values is None:
                continue
            if truth.question.task is Task.OBJECT:
                if truth.values.any():
                    found.setdefault("object_sim", []).append(_similarity(values, truth.values))
            elif truth.values.any():
                name = "semantic_f1" if truth.question.task is Task.SEMANTIC else f"{truth.question.task.value}_f1"
                found.setdefault(name, []).append(_f1(values >= HUMAN_THRESHOLD, truth.values > 0))
            else:
                found.setdefault("no_contact", []).append(float(not (values >= HUMAN_THRESHOLD).any()))
    scores = {name: float(np.mean(values)) for name, values in sorted(found.items())}
    return {**scores, "score": float(np.mean(list(scores.values()))) if scores else 0.0}


async def _ask(pipeline: Pipeline, inquiry: Inquiry) -> dict[tuple[str, str, str], NDArray[np.float32]]:
    prediction = await pipeline.predict(
        inquiry.pixels(), objects=inquiry.objects, tasks=inquiry.tasks, person=inquiry.selector(), partial=True
    )
    return {
        (
            result.task.value,
            result.object_name if result.task in (Task.SEMANTIC, Task.OBJECT) else "",
            result.surface if result.task is Task.OBJECT else "",
        ): result.probabilities
        for result in prediction.results
    }


def _f1(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def _similarity(found: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    if not found.any():
        return 0.0
    return float(np.minimum(found / found.sum(), true / true.sum()).sum())
