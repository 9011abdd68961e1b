"""The vision tower: photos to patch features (CLIP for the published models, a DINOv2 for nano)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from interactvlm.errors import CheckpointError
from interactvlm.torchvision_cpu import prepare_torchvision
from interactvlm.vlm.preprocess import PhotoPreprocessor

__all__ = ["VisionTower"]


class VisionTower(nn.Module):
    """Patch features of one hidden state, without CLS, optionally averaged over small squares.

    Neighbouring averages may stand side by side in one image token: few tokens for the language model, little lost.
    """

    def __init__(self, *, model: nn.Module, preprocessor: PhotoPreprocessor, pool: int, merge: int = 1) -> None:
        """Wrap a transformers vision model whose `last_hidden_state` is the one to use.

        Args:
            model: CLIPVisionModel or Dinov2Model, cut to the layers that are used.
            preprocessor: how photos become pixels.
            pool: side of the square of patches that are averaged (1 = none).
            merge: side of the square of averages that are concatenated into one image token, row by row (1 = none).
        """
        super().__init__()
        self.model = model
        self.preprocessor = preprocessor
        self.pool = pool
        self.merge = merge
        config: Any = model.config
        self.width = int(config.hidden_size) * merge**2
        self._grid = preprocessor.crop_size // int(config.patch_size)

    @property
    def image_tokens(self) -> int:
        """Features per photo."""
        return (self._grid // (self.pool * self.merge)) ** 2

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        select_layer: int,
        pool: int,
        merge: int = 1,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> VisionTower:
        """Read a folder with config.json, preprocessor_config.json and safetensors weights.

        Args:
            folder: `openai/clip-vit-large-patch14` as downloaded, or a tower of the same layout.
            select_layer: hidden state to use, counted from the end (-1 the last layer's, -2 the one before). CLIP's
                is taken as it is, DINOv2's through its final norm, as each is meant to be used.
            pool: side of the square of patches that are averaged.
            merge: side of the square of averages concatenated into one image token.
            device: where the weights go.
            dtype: dtype they are computed in.

        Raises:
            CheckpointError: files are missing or unreadable, tensors are missing or misshapen, or the model is of
                another kind.
        """
        preprocessor = PhotoPreprocessor.from_folder(folder)
        kind, config_class, model_class = _classes(folder)
        try:
            config = config_class.from_pretrained(folder)
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(folder / "config.json", f"cannot be read ({error})") from None
        layers = config.num_hidden_layers + 1 + select_layer
        if not 0 < layers <= config.num_hidden_layers:
            raise CheckpointError(
                folder, f"has {config.num_hidden_layers} layers, hidden state {select_layer} is asked"
            )
        # Layers behind the chosen state would be computed for nothing.
        config.num_hidden_layers = layers
        grid, rest = divmod(preprocessor.crop_size, config.patch_size)
        if rest or grid % (pool * merge) or (kind == "clip" and preprocessor.crop_size != config.image_size):
            raise CheckpointError(
                folder,
                f"crop_size {preprocessor.crop_size} does not fit patch_size {config.patch_size}, image_size "
                f"{config.image_size} and squares of {pool} x {merge}",
            )
        model = _load(model_class, folder, config=config)
        frozen = model.to(device, dtype).eval().requires_grad_(False)
        return cls(model=frozen, preprocessor=preprocessor, pool=pool, merge=merge)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features of prepared photos.

        Args:
            pixels: [P, 3, S, S], float32; cast to the weights' dtype.

        Returns:
            [P, `image_tokens`, width] in the weights' dtype, row by row of the photo.
        """
        weight = next(self.model.parameters())
        features: torch.Tensor = self.model(pixel_values=pixels.to(weight.device, weight.dtype)).last_hidden_state[
            :, 1:
        ]
        if self.pool * self.merge == 1:
            return features
        squares = F.avg_pool2d(features.transpose(1, 2).unflatten(2, (self._grid, self._grid)), self.pool)
        # [P, C, g, m, g, m] -> [P, g, g, m, m, C]
        blocks = squares.unflatten(3, (-1, self.merge)).unflatten(2, (-1, self.merge)).permute(0, 2, 4, 3, 5, 1)
        merged: torch.Tensor = blocks.flatten(3).flatten(1, 2)
        return merged


def _classes(folder: Path) -> tuple[str, Any, Any]:
    """("clip" or "dinov2", configuration class, model class) that the folder's config.json names."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(folder, "is not a vision tower: it has no config.json") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(path, f"is not valid JSON: {error}") from None
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    prepare_torchvision()
    if kind in ("clip", "clip_vision_model"):
        from transformers import CLIPVisionConfig, CLIPVisionModel

        return "clip", CLIPVisionConfig, CLIPVisionModel
    if kind == "dinov2":
        from transformers import Dinov2Config, Dinov2Model

        return "dinov2", Dinov2Config, Dinov2Model
    raise CheckpointError(path, f"key model_type is {kind!r}; known: clip, clip_vision_model, dinov2")


def _load(model_class: Any, folder: Path, *, config: Any) -> nn.Module:
    """The model with every weight read from safetensors; transformers knows the older names of tensors.

    In float32: for any other type transformers changes torch's default of the whole process while it loads, and
    another model may be answering meanwhile.
    """
    try:
        with _quiet():
            model, report = model_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # noqa: BLE001 - safetensors, OS and runtime errors alike
        raise CheckpointError(folder, f"holds no readable model.safetensors ({error})") from None
    # A mask token serves only DINOv2's training; towers without one are complete.
    missing = sorted(name for name in report["missing_keys"] if not name.endswith("mask_token"))
    if missing:
        raise CheckpointError(folder, f"lacks {len(missing)} tensors, the first is {missing[0]}")
    if report["mismatched_keys"]:
        name, found, expected = sorted(report["mismatched_keys"])[0]
        raise CheckpointError(folder, f"tensor {name} has shape {tuple(found)}, expected {tuple(expected)}")
    loaded: nn.Module = model
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and its remarks on tensors that are left out on purpose."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
