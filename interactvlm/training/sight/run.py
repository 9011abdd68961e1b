"""The first phase: the projector learns what photos show and who touches what, before the language model hears of it.

A step costs a tenth of a joint one, and every photo teaches through all its cells and all its questions at once.
Exactly resumable, as the joint phase is. With several processes each computes the same; one writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from interactvlm.errors import CheckpointError, InteractVLMError
from interactvlm.training.config import SightPart
from interactvlm.training.progress import RunProgress
from interactvlm.training.saving import RunState, latest_checkpoint, load_checkpoint, prune, save_checkpoint
from interactvlm.training.schedule import rate_factor
from interactvlm.training.sight.batches import SightBatches
from interactvlm.training.sight.heads import SightBatch, SightHeads
from interactvlm.training.stopping import stopped_by_signals
from interactvlm.vlm.projector import BlockProjector

__all__ = ["SightTrainer"]

_BETAS, _DECAY, _CLIP = (0.9, 0.98), 0.01, 1.0


class SightTrainer:
    """One first phase in one folder.

    Args:
        projector: what is trained, in float32.
        heads: read from it; trained along and thrown away.
        batches: to learn from.
        held_out: to be scored on; None: no scores.
        part: the recipe.
        folder: of this phase.
        precision: "bfloat16" computes matrix products so.
        save_every: steps between checkpoints.
        writes: whether this process writes.
        recipe: fingerprint of what the phase depends on.
    """

    def __init__(
        self,
        *,
        projector: BlockProjector,
        heads: SightHeads,
        batches: SightBatches,
        held_out: SightBatches | None,
        part: SightPart,
        folder: Path,
        precision: str,
        save_every: int,
        writes: bool,
        recipe: str,
    ) -> None:
        self._heads = heads
        self._batches = batches
        self._held_out = held_out
        self._part = part
        self._folder = folder
        self._bf16 = precision == "bfloat16"
        self._save_every = save_every
        self._writes = writes
        self._recipe = recipe
        self._projector = projector
        self._parameters: dict[str, nn.Parameter] = {
            **{f"projector.{name}": parameter for name, parameter in projector.named_parameters()},
            **{f"heads.{name}": parameter for name, parameter in heads.named_parameters()},
        }
        self._optimiser = torch.optim.AdamW(self._parameters.values(), betas=_BETAS, weight_decay=_DECAY)

    @property
    def done(self) -> bool:
        """Whether the folder holds the phase's last checkpoint."""
        newest = latest_checkpoint(self._folder)
        return newest is not None and newest.name == f"step-{self._part.steps:07d}"

    def load(self) -> None:
        """Put what the folder holds into projector and heads.

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
        progress.say(f"{self._folder}: learning to see, from step {state.step} to {part.steps}")
        saved = state.step
        with stopped_by_signals(begin + 60 * minutes) as stop:
            while state.step < part.steps and not stop.due():
                batch = self._batches.draw(state.step)
                values = self._step(batch, rate_factor(state.step, part.warmup, part.steps, part.final_rate))
                seconds = before + time.monotonic() - begin
                state = RunState(state.step + 1, seconds, state.photos + part.photos, self._recipe)
                progress.step(state.step, values, photos=part.photos, answers=len(batch.names))
                if state.step % self._save_every == 0 and state.step < part.steps:
                    saved = self._save(state)
        if saved != state.step:
            self._save(state)
        if state.step == part.steps and self._held_out is not None:
            scores = self.scores(self._held_out.first(part.held_out))
            progress.record("validation", state.step, scores)
            progress.say("held out: " + "  ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        progress.close()
        return state

    @torch.no_grad()
    def scores(self, batch: SightBatch) -> dict[str, float]:
        """How well the heads read contact off the image tokens: F1 of the parts, share of "touched or not" right."""
        with self._autocast():
            tokens = self._projector(batch.features)
            answers = self._heads.answers(tokens, batch.photo_of, batch.names).float()
        said, true = answers > 0, batch.contacts > 0
        found = (said & true)[:, :-1].sum().item()
        f1 = 2 * found / max(1, (said[:, :-1].sum() + true[:, :-1].sum()).item())
        return {"part_f1": f1, "touched_acc": (said[:, -1] == true[:, -1]).float().mean().item()}

    def _step(self, batch: SightBatch, factor: float) -> Mapping[str, float]:
        for group in self._optimiser.param_groups:
            group["lr"] = self._part.rate * factor
        with self._autocast():
            losses = self._heads(self._projector, batch)
        total: Tensor = losses.total
        values = {
            "loss": total.item(),
            "cells": losses.cells.item(),
            "tokens": losses.tokens.item(),
            "contacts": losses.contacts.item(),
        }
        if not all(map(math.isfinite, values.values())):
            raise InteractVLMError(f"the loss is not finite: {values}")
        total.backward()
        nn.utils.clip_grad_norm_(self._parameters.values(), _CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return values

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
            raise CheckpointError(checkpoint, "was made by another recipe ([model], [[data]] or [sight] has changed)")
