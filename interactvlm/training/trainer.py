"""The training loop: steps, checkpoints, validation; resumable at every step, ended in order by SIGTERM.

Batches depend on the step's number alone and the learning rate too, so that weights and the optimiser's state are all
that a run needs to go on exactly where it stopped.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from interactvlm.errors import CheckpointError, InteractVLMError
from interactvlm.training.batches import Batches
from interactvlm.training.config import TrainingConfig
from interactvlm.training.model import TrainableModel
from interactvlm.training.parameters import trained_tensors
from interactvlm.training.prepare import parameter_groups
from interactvlm.training.progress import RunProgress
from interactvlm.training.saving import (
    RunState,
    best_checkpoint,
    latest_checkpoint,
    load_checkpoint,
    mark_best,
    prune,
    save_checkpoint,
)
from interactvlm.training.schedule import rate_factor
from interactvlm.training.stopping import stopped_by_signals

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Trainer", "make_accelerator", "recipe_of"]

_BETAS = (0.9, 0.95)  # release
#: Keys of [steps] that may change between the pieces of one run.
_FREE = ("steps", "photos_at_once", "precision", "parallel")
Validate = Callable[[], dict[str, float]]


class Trainer:
    """One run in one folder.

    Args:
        model: what is trained, prepared.
        batches: its batches.
        config: the configuration.
        accelerator: places the model on its devices and averages gradients over processes.
        folder: the run's.
        validate: scores the model as it is; "score" decides which checkpoint is kept as the best.
    """

    def __init__(
        self,
        *,
        model: TrainableModel,
        batches: Batches,
        config: TrainingConfig,
        accelerator: Accelerator,
        folder: Path,
        validate: Validate | None = None,
    ) -> None:
        self._batches = batches
        self._config = config
        self._accelerator = accelerator
        self._folder = folder
        self._validate = validate
        optimiser = torch.optim.AdamW(parameter_groups(model, config.steps), betas=_BETAS, weight_decay=0.0)
        self._wrapped, self._optimiser = accelerator.prepare(model, optimiser)
        self.model: TrainableModel = accelerator.unwrap_model(self._wrapped)
        self._recipe = recipe_of(config)

    def run(self, *, resume: bool, minutes: float = math.inf) -> RunState:
        """Train to the configured step, or until time is over or the process is asked to end.

        Args:
            resume: go on from the newest checkpoint; without it the folder must hold none.
            minutes: end (with a checkpoint) after so long.

        Returns:
            Where the run stands.

        Raises:
            CheckpointError: there is a checkpoint and `resume` is off, or it is of another recipe.
            InteractVLMError: the loss is not finite.
        """
        state = self._begin(resume)
        main = self._accelerator.is_main_process
        steps = self._config.steps
        progress = RunProgress(self._folder if main else None, steps=steps.steps, first=state.step)
        progress.say(f"{self._folder}: from step {state.step} to {steps.steps}")
        begin, before = time.monotonic(), state.seconds
        saved = state.step
        with stopped_by_signals(begin + 60 * minutes) as stop:
            while state.step < steps.steps and not self._agreed(stop.due()):
                values, photos, answers = self._step(state.step)
                state = RunState(
                    state.step + 1, before + time.monotonic() - begin, state.photos + steps.photos, self._recipe
                )
                progress.step(state.step, values, photos=photos, answers=answers)
                if state.step % self._config.run.save_every == 0:
                    saved = self._save(state)
                every = self._config.run.validate_every
                if self._validate is not None and every and state.step % every == 0:
                    saved = self._save(state) if saved != state.step else saved
                    self._score(state, progress)
        if saved != state.step:
            self._save(state)
        progress.close()
        return state

    def _begin(self, resume: bool) -> RunState:
        newest = latest_checkpoint(self._folder)
        if newest is None:
            return RunState(0, 0.0, 0, self._recipe)
        if not resume:
            raise CheckpointError(self._folder, "holds a run already: go on with --resume, or choose another folder")
        state = load_checkpoint(newest, trained_tensors(self.model), self._torch_optimiser())
        if state.recipe != self._recipe:
            raise CheckpointError(newest, "was made by another recipe ([model], [[data]] or [steps] has changed)")
        return state

    def _step(self, step: int) -> tuple[dict[str, float], int, int]:
        """One step: its losses, and this process's photos and answers."""
        accelerator, steps = self._accelerator, self._config.steps
        passes = self._batches.draw(step, rank=accelerator.process_index, ranks=accelerator.num_processes)
        factor = rate_factor(step, steps.warmup, steps.steps, steps.final_rate)
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        values: dict[str, float] = {}
        for index, examples in enumerate(passes):
            last = index == len(passes) - 1
            with _unsynchronised(self._wrapped, last):
                parts = self._wrapped(examples)
            for name in ("total", "text", "mask_focal", "mask_dice", "human", "object_contact", "affordance", "code"):
                value = getattr(parts, name).item() / len(passes)
                key = "loss" if name == "total" else name
                values[key] = values.get(key, 0.0) + value
            accelerator.backward(parts.total / len(passes))
        if not all(map(math.isfinite, values.values())):
            raise InteractVLMError(f"the loss is not finite at step {step}: {values}")
        norm = accelerator.clip_grad_norm_(self._wrapped.parameters(), steps.clip)
        self._optimiser.step()
        self._optimiser.zero_grad()
        values["gradient"] = float(norm)
        values["rate"] = steps.rate * factor
        return values, sum(len({id(e.image_features) for e in one}) for one in passes), sum(map(len, passes))

    def _score(self, state: RunState, progress: RunProgress) -> None:
        assert self._validate is not None  # noqa: S101 - for the type checker
        if not self._accelerator.is_main_process:
            return
        self.model.eval()
        scores = self._validate()
        self.model.train()
        progress.record("validation", state.step, scores)
        told = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
        progress.say(f"validation at step {state.step}: {told}")
        best = best_checkpoint(self._folder)
        if best is None or scores["score"] > best[1]:
            mark_best(self._folder / f"step-{state.step:07d}", scores["score"])

    def _save(self, state: RunState) -> int:
        main = self._accelerator.is_main_process
        save_checkpoint(self._folder, trained_tensors(self.model), self._torch_optimiser(), state, writes=main)
        if main:
            prune(self._folder, self._config.run.keep)
        self._accelerator.wait_for_everyone()
        return state.step

    def _torch_optimiser(self) -> torch.optim.Optimizer:
        inner: torch.optim.Optimizer = getattr(self._optimiser, "optimizer", self._optimiser)
        return inner

    def _agreed(self, stop: bool) -> bool:
        """Whether any process wants to stop: all of them must leave the loop at the same step."""
        if self._accelerator.num_processes == 1:
            return stop
        wish = torch.tensor(float(stop), device=self._accelerator.device)
        return bool(self._accelerator.reduce(wish, reduction="sum").item() > 0)


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """accelerate's view of this process, by the configuration's device, precision and parallelism."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, FullyShardedDataParallelPlugin

    steps = config.steps
    plugin = None
    if steps.parallel == "fsdp2":
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            auto_wrap_policy="transformer_based_wrap",
            transformer_cls_names_to_wrap=["_Layer"],  # of vlm/llama.py
            state_dict_type="FULL_STATE_DICT",
        )
    return Accelerator(
        mixed_precision="bf16" if steps.precision == "bfloat16" else "no",
        cpu=config.run.device == "cpu",
        fsdp_plugin=plugin,
        # A batch in words alone reaches no mask decoder.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def recipe_of(config: TrainingConfig) -> str:
    """Fingerprint of what must not change within a run."""
    steps = {name: value for name, value in asdict(config.steps).items() if name not in _FREE}
    content = repr((asdict(config.model), [asdict(source) for source in config.data], steps))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@contextmanager
def _unsynchronised(module: Any, last: bool) -> Iterator[None]:
    """Average gradients over processes in a step's last pass only, where the wrapper knows how."""
    if last or not hasattr(module, "no_sync"):
        yield
    else:
        with module.no_sync():
            yield
