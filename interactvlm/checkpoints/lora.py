"""Merging LoRA updates into the weights they adapt (unmerged training checkpoints carry PEFT names)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from interactvlm.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["has_lora", "lora_groups", "merge_lora"]

_PREFIX = "base_model.model."
_DOWN = ".lora_A.default.weight"
_UP = ".lora_B.default.weight"


def has_lora(names: Mapping[str, object]) -> bool:
    """Whether the names are those of a model wrapped by PEFT."""
    return any(name.startswith(_PREFIX) or name.endswith((_DOWN, _UP)) for name in names)


def merge_lora(state: Mapping[str, torch.Tensor], *, alpha: float) -> dict[str, torch.Tensor]:
    """Fold every update into its weight, W + (alpha / r) B A, and drop PEFT's prefixes from the names.

    Tensors without an update are passed on, not copied. The sum is taken in float32 and returned in W's dtype.

    Args:
        state: tensors by name, as PEFT saves them: `base_model.model.NAME.lora_A.default.weight` [r, in] and
            `...lora_B.default.weight` [out, r] beside `NAME.weight` or `NAME.base_layer.weight` [out, in].
        alpha: LoRA's alpha (16 in the release); r is read from the shapes.

    Returns:
        Tensors under the names of the unwrapped model.

    Raises:
        CheckpointError: an update lacks its other half or its weight, shapes do not fit, or two tensors claim one
            name.
    """
    merged: dict[str, torch.Tensor] = {}
    for name, (stored, *update) in lora_groups(state).items():
        weight = state[stored]
        if update:
            a, b = (state[half] for half in update)
            if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or weight.shape != (b.shape[0], a.shape[1]):
                raise CheckpointError(
                    "weights",
                    f"LoRA update of {name} has shapes {tuple(b.shape)} x {tuple(a.shape)}, "
                    f"weight {tuple(weight.shape)}",
                )
            weight = (weight.float() + (alpha / a.shape[0]) * (b.float() @ a.float())).to(weight.dtype)
        merged[name] = weight
    return merged


def lora_groups(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Which stored tensors make each tensor of the unwrapped model, so that merging can go tensor by tensor.

    Args:
        names: stored names, wrapped by PEFT or not.

    Returns:
        Name in the unwrapped model -> (stored weight,) or (stored weight, lora_A, lora_B), in the order of `names`.

    Raises:
        CheckpointError: an update lacks its other half or its weight, or two tensors claim one name.
    """
    weights: dict[str, str] = {}
    down: dict[str, str] = {}
    up: dict[str, str] = {}
    for name in names:
        plain = name.removeprefix(_PREFIX)
        if plain.endswith(_DOWN):
            down[plain.removesuffix(_DOWN)] = name
            continue
        if plain.endswith(_UP):
            up[plain.removesuffix(_UP)] = name
            continue
        # PEFT keeps the untrained original beside a fully trained copy; the copy is the model's.
        if ".original_module." in plain:
            continue
        plain = plain.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
        if plain in weights:
            raise CheckpointError("weights", f"hold two tensors for {plain}")
        weights[plain] = name
    lonely = sorted(down.keys() ^ up.keys())
    if lonely:
        raise CheckpointError("weights", f"hold half a LoRA update for {lonely[0]}")
    groups: dict[str, tuple[str, ...]] = {plain: (name,) for plain, name in weights.items()}
    for module, a in down.items():
        plain = f"{module}.weight"
        if plain not in weights:
            raise CheckpointError("weights", f"hold a LoRA update for {plain}, but not the weight")
        groups[plain] = (weights[plain], a, up[module])
    return groups
