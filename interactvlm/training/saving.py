"""Checkpoints of a run: what is trained, the optimiser's state and where the run stands; nothing that is frozen.

A checkpoint is a folder `step-NNNNNNN` of two safetensors files and a JSON file, written beside and moved into place:
it is whole or not there. The weights carry the official names, LoRA's PEFT's.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.errors import CheckpointError
from interactvlm.training.parameters import copy_into, fill

__all__ = [
    "RunState",
    "best_checkpoint",
    "latest_checkpoint",
    "load_checkpoint",
    "mark_best",
    "prune",
    "save_checkpoint",
]

WEIGHTS, OPTIMISER, STATE, BEST = "weights.safetensors", "optimiser.safetensors", "state.json", "best.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_NAME = re.compile(r"step-(\d{7})")


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands.

    Attributes:
        step: steps done.
        seconds: time spent training, over all pieces.
        photos: photos seen, over all processes.
        recipe: fingerprint of what decides the draws and the optimiser; a run goes on with its own only.
    """

    step: int
    seconds: float
    photos: int
    recipe: str


def save_checkpoint(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    state: RunState,
    *,
    writes: bool = True,
) -> Path:
    """Write `folder/step-NNNNNNN`; every process calls it, one writes.

    Args:
        folder: the run's.
        parameters: all that are trained, by the names they are kept under.
        optimiser: AdamW over them.
        state: where the run stands.
        writes: whether this process writes.
    """
    target = folder / f"step-{state.step:07d}"
    weights, moments = {}, {}
    for name, parameter in parameters.items():
        weights[name] = _whole(parameter.detach())
        for moment in _MOMENTS:
            if moment in (kept := optimiser.state.get(parameter, {})):
                moments[f"{moment}:{name}"] = _whole(kept[moment])
                moments[f"step:{name}"] = kept["step"].detach().cpu().reshape(1)
    if not writes:
        return target
    scratch = folder / f".{target.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    save_file(weights, scratch / WEIGHTS)
    save_file(moments, scratch / OPTIMISER)
    content = {"step": state.step, "seconds": state.seconds, "photos": state.photos, "recipe": state.recipe}
    (scratch / STATE).write_text(json.dumps(content) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)
    return target


def load_checkpoint(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer | None = None
) -> RunState:
    """Put a checkpoint into parameters (see `save_checkpoint`) and, where one is given, their optimiser.

    Raises:
        CheckpointError: a file is missing, damaged or of another model.
    """
    try:
        raw = read_json_object(folder / STATE)
        state = RunState(
            step=int(raw["step"]),
            seconds=float(raw["seconds"]),
            photos=int(raw["photos"]),
            recipe=str(raw["recipe"]),
        )
        fill(parameters, load_file(folder / WEIGHTS), source=folder)
        moments = load_file(folder / OPTIMISER) if optimiser is not None else {}
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(folder, f"is not a whole checkpoint ({error})") from None
    if optimiser is not None:
        for name, parameter in parameters.items():
            if f"step:{name}" not in moments:
                continue
            kept = optimiser.state[parameter]
            kept["step"] = moments[f"step:{name}"].reshape(())
            for moment in _MOMENTS:
                kept[moment] = torch.zeros_like(parameter)
                copy_into(kept[moment], moments[f"{moment}:{name}"])
    return state


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def best_checkpoint(folder: Path) -> tuple[Path, float] | None:
    """The checkpoint that validated best, and its score."""
    if not (folder / BEST).is_file():
        return None
    raw = read_json_object(folder / BEST)
    path = folder / str(raw["checkpoint"])
    return (path, float(raw["score"])) if path.is_dir() else None


def mark_best(checkpoint: Path, score: float) -> None:
    """Remember that this checkpoint validated best so far."""
    scratch = checkpoint.parent / f".{BEST}"
    scratch.write_text(json.dumps({"checkpoint": checkpoint.name, "score": score}) + "\n", encoding="utf-8")
    scratch.replace(checkpoint.parent / BEST)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and the best."""
    best = best_checkpoint(folder)
    for path in _checkpoints(folder)[:-keep]:
        if best is None or path != best[0]:
            shutil.rmtree(path, ignore_errors=True)


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / STATE).is_file()]
    return sorted(found, key=lambda path: path.name)


def _whole(tensor: Tensor) -> Tensor:
    """A tensor that may be sharded over processes, gathered on the CPU."""
    from torch.distributed.tensor import DTensor

    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.to("cpu", copy=True).contiguous()
