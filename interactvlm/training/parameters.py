"""Trained parameters by the names they are kept under: the official layout's, PEFT's for LoRA."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from interactvlm.errors import CheckpointError
from interactvlm.mvloc.encoder import ENCODER_PREFIX
from interactvlm.training.model import TrainableModel

__all__ = ["copy_into", "fill", "official_name", "trained_tensors"]

_ROWS = {
    "network.model.embed_tokens.rows": "model.embed_tokens.added",
    "network.lm_head.table.rows": "lm_head.added",
}
_HOMES = {
    "network.": "",
    "gate.": "cam_pose_encoder.",
    "splitter.": "attention_splitter.",
    "neck.": f"{ENCODER_PREFIX}neck.",
    "human_predictor.": "model.visual_model.",
    "object_predictor.": "model.visual_model.",
}


def official_name(own: str, model: TrainableModel) -> str:
    """A trained parameter's name in the official layout, in PEFT's for LoRA; that of an added row as nano ships it."""
    if own in _ROWS:
        return _ROWS[own]
    home = next(home for home in _HOMES if own.startswith(home))
    name = own.removeprefix(home)
    if home.endswith("predictor.") and model.config.separate_decoders:
        name = f"{home.split('_')[0]}_{name}"
    return _HOMES[home] + name


def trained_tensors(model: TrainableModel) -> dict[str, nn.Parameter]:
    """Official name -> parameter, of everything that is trained."""
    return {official_name(n, model): p for n, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def fill(places: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], *, source: object) -> None:
    """Copy tensors into parameters by name; parameters that no tensor is for stay as they are.

    Raises:
        CheckpointError: a tensor has no place among them, or another shape.
    """
    for name, value in tensors.items():
        if name not in places:
            raise CheckpointError(source, f"holds {name}, which this configuration does not train")
        if places[name].shape != value.shape:
            raise CheckpointError(
                source, f"tensor {name} has shape {tuple(value.shape)}, expected {tuple(places[name].shape)}"
            )
        copy_into(places[name], value)


def copy_into(place: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into a parameter that may be sharded over processes."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(place, DTensor):
        value = distribute_tensor(value.to(place.device, place.dtype), place.device_mesh, place.placements)
    place.copy_(value)
