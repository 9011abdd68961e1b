"""A checkpoint made ready for training: which parts are trained, in what, and under which names they are kept.

Trained (paper section 3; release): LoRA on q_proj and v_proj, token rows, Gamma, Phi, the splitter, Omega; in nano also
the image projector and Theta's neck, which have no pretrained counterpart.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError
from interactvlm.mvloc.encoder import ENCODER_PREFIX
from interactvlm.training.config import ModelPart, StepsPart
from interactvlm.training.model import TrainableModel
from interactvlm.training.surfaces import load_neck
from interactvlm.training.token_rows import train_added_rows

__all__ = ["ADAPTED", "official_name", "parameter_groups", "prepare_model", "set_trained", "trained_tensors"]

#: What LoRA adapts, in the release.
ADAPTED = ("q_proj", "v_proj")
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
_DECODER = ("network.model.text_hidden_fcs.", "gate.", "splitter.", "neck.", "human_predictor.", "object_predictor.")


def prepare_model(
    folder: Path, part: ModelPart, *, device: torch.device, frozen_dtype: torch.dtype, seed: int
) -> TrainableModel:
    """Load a checkpoint and decide what is trained.

    Trained parameters are float32. LoRA's own begin as usual, B at zero, drawn from the seed.

    Args:
        folder: the checkpoint in the official layout.
        part: what is trained.
        device: where.
        frozen_dtype: dtype of the frozen language model.
        seed: of LoRA's beginning.

    Raises:
        CheckpointError: a file or tensor is missing or does not fit.
    """
    from peft import LoraConfig, inject_adapter_in_model

    model = TrainableModel.from_folder(folder, device=device)
    if part.neck:
        model.neck = load_neck(WeightReader(folder), device)
    if part.rows == "added":
        train_added_rows(model.network)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    torch.manual_seed(seed)
    adapters = LoraConfig(r=part.lora_rank, lora_alpha=part.lora_alpha, target_modules=list(ADAPTED), lora_dropout=0.0)
    inject_adapter_in_model(adapters, model.network)
    for name, parameter in model.named_parameters():
        if part.projector and ".mm_projector." in name:
            trained.add(name)
        # PEFT froze everything but its own.
        parameter.requires_grad_(name in trained or ".lora_" in name)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
        elif name.startswith("network."):
            parameter.data = parameter.data.to(frozen_dtype)
    if part.checkpoint_activations:
        for layer in model.network.model.layers:
            layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
    return model.train()


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
def set_trained(model: TrainableModel, tensors: dict[str, Tensor], *, source: object) -> None:
    """Copy tensors by official name into the model; those that are absent stay as they are.

    Raises:
        CheckpointError: one has no place in this model, or another shape.
    """
    places = trained_tensors(model)
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


def parameter_groups(model: TrainableModel, steps: StepsPart) -> list[dict[str, Any]]:
    """AdamW's groups: what belongs to the decoder, the image projector, and the rest, each with its rate."""
    groups: dict[str, dict[str, Any]] = {
        "language": {"params": [], "rate": steps.rate},
        "projector": {"params": [], "rate": steps.rate * steps.projector_rate},
        "decoder": {"params": [], "rate": steps.rate * steps.decoder_rate},
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "decoder" if name.startswith(_DECODER) else "projector" if ".mm_projector." in name else "language"
            groups[kind]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]
