"""Every tensor of nano by its official name, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.checkpoints.lora import merge_lora
from interactvlm.errors import CheckpointError
from interactvlm.vlm.nano.initialise import initial_tensor
from interactvlm.vlm.nano.manifest import WEIGHTS_FILE, NanoManifest
from interactvlm.vlm.nano.packages import file_sha256

if TYPE_CHECKING:
    from interactvlm.vlm.nano.language import GgufLanguageModel

__all__ = ["ADDED_ROWS", "NanoTensors", "base_weights", "projector_blocks", "shipped_weights"]

#: Shipped name of the embedding rows of added tokens, appended to the language model's own.
ADDED_ROWS = "model.embed_tokens.added"
_EMBEDDING = "model.embed_tokens.weight"
_PROJECTOR_BLOCKS = "model.mm_projector.blocks"
_LORA = (".lora_A.default.weight", ".lora_B.default.weight")


def shipped_weights(manifest: NanoManifest, assets: Path) -> dict[str, NDArray[np.generic]]:
    """The weights beside a manifest.

    Raises:
        CheckpointError: they are missing or not those of the manifest.
    """
    from safetensors.numpy import load_file

    path = assets / WEIGHTS_FILE
    if not path.is_file() or file_sha256(path) != manifest.weights_sha256:
        raise CheckpointError(path, "is missing or damaged: reinstall interactvlm")
    return dict(load_file(path))


def base_weights(language: GgufLanguageModel) -> dict[str, NDArray[np.generic]]:
    """What nano is before any training: the contact token stands where the mean of all tokens stands."""
    return {ADDED_ROWS: language.tensor(_EMBEDDING).mean(0, keepdims=True)}


def projector_blocks(shipped: Mapping[str, object]) -> int:
    """Transformer blocks of the image projector among the shipped weights, by their names."""
    return sum(name.startswith(f"{_PROJECTOR_BLOCKS}.") and name.endswith(".qkv.weight") for name in shipped)


class NanoTensors:
    """Reads, merges or initialises one tensor at a time, as the manifest says.

    Args:
        manifest: which part has which source.
        language: the language model's weights.
        renders: Theta's but for its neck, by official name (`renders.render_encoder_tensors`).
        shipped: our own weights (`shipped_weights`), or none of them but the added rows (`base_weights`).
    """

    def __init__(
        self,
        *,
        manifest: NanoManifest,
        language: GgufLanguageModel,
        renders: Mapping[str, NDArray[np.float32]],
        shipped: Mapping[str, NDArray[np.generic]],
    ) -> None:
        self._manifest = manifest
        self._language = language
        self._renders = renders
        self._shipped = shipped

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Every tensor of `shapes` has one source, and every shipped tensor a use.

        Raises:
            CheckpointError: otherwise.
        """
        used: set[str] = set()
        for name in shapes:
            source = self._manifest.part_of(name).source
            if source == "weights":
                used.add(name)
            elif source == "package":
                used.update(name.removesuffix(".weight") + suffix for suffix in _LORA)
        used.add(ADDED_ROWS)
        left_over = sorted(self._shipped.keys() - used)
        if left_over:
            raise CheckpointError(WEIGHTS_FILE, f"holds {len(left_over)} tensors without use, as {left_over[0]}")

    def read(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """One tensor, float32.

        Raises:
            CheckpointError: its source lacks it, or has it in another shape.
        """
        source = self._manifest.part_of(name).source
        if source == "seed":
            return initial_tensor(name, shape, self._manifest.seed)
        value = self._from_package(name) if source == "package" else self._from_weights(name)
        if value.shape != shape:
            raise CheckpointError("nano", f"tensor {name} has shape {value.shape}, expected {shape}")
        return value

    def _from_weights(self, name: str) -> NDArray[np.float32]:
        try:
            return self._shipped[name].astype(np.float32)
        except KeyError:
            raise CheckpointError(WEIGHTS_FILE, f"lacks the tensor {name}") from None

    def _from_package(self, name: str) -> NDArray[np.float32]:
        import torch

        if name in self._renders:
            return self._renders[name]
        value = self._language.tensor(name)
        if name == _EMBEDDING:
            return np.concatenate((value, self._from_weights(ADDED_ROWS)))
        halves = [name.removesuffix(".weight") + suffix for suffix in _LORA]
        state = {half: torch.from_numpy(self._from_weights(half)) for half in halves if half in self._shipped}
        if not state:
            return value
        state[name] = torch.from_numpy(value)
        merged: NDArray[np.float32] = merge_lora(state, alpha=self._manifest.lora_alpha)[name].numpy()
        return merged
