"""The second phase: Phi, Omega, Theta's neck and the contact code learn masks from contact maps alone.

The body and its renders are always the same: what a region looks like needs no photo and no language model. Labels of a
step's photos are drawn as in the joint phase, those that hold contact on the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample
from interactvlm.training.config import TrainingConfig
from interactvlm.training.examples import ExampleBuilder, Lesson, QuestionMix
from interactvlm.training.mixture import Mixture, seeded
from interactvlm.training.model import TrainableModel
from interactvlm.training.objective import training_objective
from interactvlm.training.parameters import official_name
from interactvlm.training.phase import Phase, StepLoss, phase_recipe
from interactvlm.training.regions.code import ContactCode, vertex_patches
from interactvlm.training.surfaces import TrainingSurface

__all__ = ["open_regions"]

_MASK_HALF = ("gate.", "splitter.", "neck.", "human_predictor.")


def open_regions(
    config: TrainingConfig,
    *,
    model: TrainableModel,
    builder: ExampleBuilder,
    body: TrainingSurface,
    template: BodyTemplate,
    sources: Sequence[Sequence[ContactSample]],
    folder: Path,
    writes: bool,
) -> Phase | None:
    """The second phase; None where [regions] asks for no steps. Gives the model its contact code.

    Args:
        config: the configuration.
        model: the trainable model.
        builder: makes lessons of photos' labels.
        body: the rendered body.
        template: the same body with its vertices.
        sources: samples of each source.
        folder: the run's.
        writes: whether this process writes.
    """
    part = config.regions
    if not part.steps or config.model.start != "fresh":
        return None
    with torch.random.fork_rng():
        torch.manual_seed(config.steps.seed)
        code = ContactCode(vertex_patches(template.vertices), channels=model.config.out_dim).to(model.device)
    mixture = Mixture([len(s) for s in sources], [s.ratio for s in config.data], seed=config.steps.seed)
    # One label a photo, never one without contact.
    mix = QuestionMix(contact=config.steps.contact, scene=config.steps.scene, words=0, count=1, untouched=1e-9)

    def lesson(number: int) -> Lesson | None:
        source, index = mixture.draw(number)
        drawn = builder.lessons(sources[source][index], mix, seeded(config.steps.seed, "regions", number))
        return next((one for one in drawn if one.values is not None and one.surface is None), None)

    def loss(step: int) -> StepLoss:
        numbers = range(step * part.photos, (step + 1) * part.photos)
        lessons = [one for number in numbers if (one := lesson(number)) is not None]
        contact = torch.from_numpy(np.stack([one.values for one in lessons if one.values is not None]))
        targets = torch.stack([body.targets(values) for values in contact.numpy()])
        tokens = [one.token for one in lessons]
        contact = contact.to(model.device)
        answers = model.supervised(body.surface, code(contact), tokens, targets, contact)
        parts = training_objective(answers, torch.zeros((), device=model.device))
        shown = {name: getattr(parts, name).item() for name in ("mask_focal", "mask_dice", "human")}
        return StepLoss(parts.total, shown, len(lessons))

    parameters = {
        official_name(name, model): parameter
        for name, parameter in model.named_parameters()
        if name.startswith(_MASK_HALF) and parameter.requires_grad
    }
    phase = Phase(
        title="learning regions of the body",
        parameters={**parameters, **{f"code.{name}": p for name, p in code.named_parameters()}},
        loss=loss,
        part=part,
        folder=folder / "regions",
        precision=config.steps.precision,
        save_every=config.run.save_every,
        writes=writes,
        recipe=phase_recipe(config, part),
    )
    model.teach(code, config.steps.code)
    return phase
