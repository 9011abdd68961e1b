"""A phase before the joint training: a few parameters, a loss by the number of the step, exactly resumable.

With several processes each computes the same; one writes.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from interactvlm.errors import CheckpointError, InteractVLMError
from interactvlm.training.config import PhasePart, TrainingConfig
from interactvlm.training.progress import RunProgress
from interactvlm.training.saving import RunState, latest_checkpoint, load_checkpoint, prune, save_checkpoint
from interactvlm.training.schedule import rate_factor
from interactvlm.training.stopping import stopped_by_signals

__all__ = ["Phase", "StepLoss", "phase_recipe"]

_BETAS, _DECAY, _CLIP = (0.9, 0.98), 0.01, 1.0


@dataclass(frozen=True, slots=True)
class StepLoss:
    """What one step comes to.

    Attributes:
        total: scalar, with its graph.
        parts: what to record beside it.
        answers: questions or contacts that it was made of.
    """

    total: Tensor
    parts: Mapping[str, float]
    answers: int


class Phase:
    """One phase in one folder.

    Args:
        title: what it does, for whoever watches.
        parameters: all that are trained, by the names they are kept under.
        loss: from a step's number to its loss, under autocast.
        part: the recipe.
        folder: of this phase.
        precision: "bfloat16" computes matrix products so.
        save_every: steps between checkpoints.
        writes: whether this process writes.
        recipe: fingerprint of what the phase depends on (`phase_recipe`).
        scores: called after the last step; None: no scores.
    """

    def __init__(
        self,
        *,
        title: str,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[int], StepLoss],
        part: PhasePart,
        folder: Path,
        precision: str,
        save_every: int,
        writes: bool,
        recipe: str,
        scores: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        self._title = title
        self._parameters = dict(parameters)
        self._loss = loss
        self._part = part
        self._folder = folder
        self._bf16 = precision == "bfloat16"
        self._save_every = save_every
        self._writes = writes
        self._recipe = recipe
        self._scores = scores
        self._optimiser = torch.optim.AdamW(self._parameters.values(), betas=_BETAS, weight_decay=_DECAY)

    @property
    def done(self) -> bool:
        """Whether the folder holds the phase's last checkpoint."""
        newest = latest_checkpoint(self._folder)
        return newest is not None and newest.name == f"step-{self._part.steps:07d}"

    def load(self) -> None:
        """Put what the folder holds into the parameters.

        Raises:
            CheckpointError: it holds nothing, or something of another recipe.
        """
        newest = latest_checkpoint(self._folder)
        if newest is None:
            raise CheckpointError(self._folder, "holds no checkpoint")
        self._check(newest, load_checkpoint(newest, self._parameters))

    def run(self, *, minutes: float = math.inf) -> RunState:
        """Train from the newest checkpoint (or the beginning) to the last step, or until time is over or a signal.

        Raises:
            CheckpointError: the checkpoint is of another recipe.
            InteractVLMError: the loss is not finite.
        """
        state = RunState(0, 0.0, 0, self._recipe)
        if (newest := latest_checkpoint(self._folder)) is not None:
            state = load_checkpoint(newest, self._parameters, self._optimiser)
            self._check(newest, state)
        part, begin, before = self._part, time.monotonic(), state.seconds
        progress = RunProgress(self._folder if self._writes else None, steps=part.steps, first=state.step)
        progress.say(f"{self._folder}: {self._title}, from step {state.step} to {part.steps}")
        saved = state.step
        with stopped_by_signals(begin + 60 * minutes) as stop:
            while state.step < part.steps and not stop.due():
                values, answers = self._step(state.step)
                seconds = before + time.monotonic() - begin
                state = RunState(state.step + 1, seconds, state.photos + part.photos, self._recipe)
                progress.step(state.step, values, photos=part.photos, answers=answers)
                if state.step % self._save_every == 0 and state.step < part.steps:
                    saved = self._save(state)
        if saved != state.step:
            self._save(state)
        if state.step == part.steps and self._scores is not None:
            with torch.no_grad(), self._autocast():
                scores = self._scores()
            progress.record("validation", state.step, scores)
            progress.say("held out: " + "  ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        progress.close()
        return state

    def _step(self, step: int) -> tuple[dict[str, float], int]:
        for group in self._optimiser.param_groups:
            group["lr"] = self._part.rate * rate_factor(
                step, self._part.warmup, self._part.steps, self._part.final_rate
            )
        with self._autocast():
            loss = self._loss(step)
        values = {"loss": loss.total.item(), **loss.parts}
        if not all(map(math.isfinite, values.values())):
            raise InteractVLMError(f"the loss is not finite at step {step}: {values}")
        loss.total.backward()
        nn.utils.clip_grad_norm_(self._parameters.values(), _CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return values, loss.answers

    def _autocast(self) -> torch.autocast:
        device = next(iter(self._parameters.values())).device
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._bf16)

    def _save(self, state: RunState) -> int:
        save_checkpoint(self._folder, self._parameters, self._optimiser, state, writes=self._writes)
        if self._writes:
            prune(self._folder, 1)
        return state.step

    def _check(self, checkpoint: Path, state: RunState) -> None:
        if state.recipe != self._recipe:
            changed = "[model], [[data]] or its own section differs"
            raise CheckpointError(checkpoint, f"was made by another recipe ({changed})")


def phase_recipe(config: TrainingConfig, part: PhasePart) -> str:
    """Fingerprint of what a phase depends on."""
    sources = [asdict(source) for source in config.data]
    content = repr((asdict(config.model), sources, asdict(part), config.steps.seed))
    return hashlib.sha256(content.encode()).hexdigest()[:16]
