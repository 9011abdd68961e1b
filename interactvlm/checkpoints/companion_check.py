"""Checks of what a checkpoint needs beside it: the vision tower's folder and the body model's file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from interactvlm.body.smpl import BODY_ARRAYS
from interactvlm.checkpoints.findings import Finding
from interactvlm.checkpoints.peek import tensor_names
from interactvlm.checkpoints.shards import PICKLED, SAFETENSORS
from interactvlm.errors import CheckpointError, MeshError
from interactvlm.npz import array_names

__all__ = ["check_body_model", "check_vision_tower"]


def check_vision_tower(folder: Path) -> Iterator[Finding]:
    """What is missing or wrong in a CLIP folder; nothing when it can be used."""
    if not (folder / "preprocessor_config.json").is_file():
        yield Finding("missing", "preprocessor_config.json", f"belongs to the same download; put it into {folder}")
    if (folder / SAFETENSORS).is_file():
        try:
            names = tensor_names(folder / SAFETENSORS)
        except CheckpointError as error:
            yield Finding("problem", SAFETENSORS, error.problem)
            return
        if not any(name.startswith("vision_model.encoder.layers.") for name in names):
            yield Finding("problem", SAFETENSORS, "holds no vision tower")
    elif (folder / PICKLED).is_file():
        text = f"is a pickle; take {SAFETENSORS} of the same download, or run `interactvlm convert-checkpoint`"
        yield Finding("missing", PICKLED, text)
    else:
        yield Finding("missing", SAFETENSORS, f"the weights; belongs to the same download; put it into {folder}")


def check_body_model(path: Path) -> Finding:
    """Whether a body file holds the arrays that are read from it; headers only."""
    try:
        lacking = sorted(set(BODY_ARRAYS) - set(array_names(path)))
    except MeshError as error:
        return Finding("problem", path.name, error.problem)
    if lacking:
        return Finding("problem", path.name, f"lacks the arrays {', '.join(lacking)}: it is no SMPL or SMPL-H model")
    return Finding("ok", path.name, f"a body model, in {path.parent}")
