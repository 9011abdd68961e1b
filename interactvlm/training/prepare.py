"""A checkpoint made ready for training: which parts are trained, in what, and at which rate.

Trained (paper section 3; release): LoRA on q_proj and v_proj, token rows, Gamma, Phi, the splitter, Omega; in nano also
the image projector and Theta's neck, which have no pretrained counterpart.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from interactvlm.checkpoints.reader import WeightReader
from interactvlm.training.config import ModelPart, StepsPart
from interactvlm.training.model import TrainableModel
from interactvlm.training.surfaces import load_neck
from interactvlm.training.token_rows import train_added_rows

__all__ = ["ADAPTED", "parameter_groups", "prepare_model"]

#: What LoRA adapts, in the release.
ADAPTED = ("q_proj", "v_proj")
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
