"""Photos and words to CLIP embeddings, the queries of OpenShape's space (paper section 5: ViT-bigG-14, 1280 channels).

The network is open_clip's, its weights a folder of the user's: `open_clip_config.json` as published and
`model.safetensors` from `interactvlm convert-checkpoint`. Nothing is ever fetched, and no configuration that names
other packages' models (which open_clip would fetch) is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError, InputError, MissingDependencyError
from interactvlm.retrieval.segments import unit_rows
from interactvlm.torchvision_cpu import prepare_torchvision
from interactvlm.types import Box

__all__ = ["MAX_TEXT", "ClipConfig", "QueryEncoder", "load_query_encoder", "square_crop"]

MAX_TEXT = 256
"""Longest query, characters (the network itself reads 77 tokens)."""

_CONFIG = "open_clip_config.json"
_MAX_IMAGE_SIDE = 16384
#: What a plain CLIP is described with, and the largest value of each; anything else is another kind of model.
_VISION = {"image_size": 1024, "layers": 96, "width": 4096, "head_width": 512, "mlp_ratio": 16, "patch_size": 64}
_TEXT = {"context_length": 1024, "vocab_size": 49408, "width": 4096, "heads": 64, "layers": 96}
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class ClipConfig:
    """What `open_clip_config.json` says.

    Attributes:
        embedding: channels.
        vision: arguments of open_clip's vision tower.
        text: of its text tower.
        quick_gelu: the activation of OpenAI's own models.
        mean: of the three colours, in [0, 1].
        std: of the three colours.
    """

    embedding: int
    vision: dict[str, Any]
    text: dict[str, Any]
    quick_gelu: bool = False
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD


class QueryEncoder:
    """A loaded CLIP; safe to use from several threads.

    Args:
        model: open_clip's CLIP, for inference.
        tokenizer: texts to ids.
        config: its configuration.
    """

    def __init__(self, model: Any, tokenizer: Any, config: ClipConfig) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._config = config

    @property
    def channels(self) -> int:
        """Length of an embedding."""
        return self._config.embedding

    @torch.inference_mode()
    def images(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit embeddings of pictures of one object each (see `square_crop`).

        Args:
            crops: uint8 RGB [H, W, 3]; of what is not square, the middle is seen.

        Returns:
            float32 [N, E].

        Raises:
            InputError: a picture has another shape or is too large.
        """
        if not crops:
            return np.zeros((0, self.channels), np.float32)
        pixels = torch.from_numpy(np.stack([self._pixels(index, crop) for index, crop in enumerate(crops)]))
        return self._unit(self._model.encode_image(pixels.to(self._model.logit_scale.device)), "image")

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit embeddings of descriptions.

        Args:
            texts: 1 to 256 characters each.

        Returns:
            float32 [N, E].

        Raises:
            InputError: a text is empty or too long.
        """
        for index, text in enumerate(texts):
            if not text.strip() or len(text) > MAX_TEXT:
                raise InputError(f"text[{index}]", f"has {len(text)} characters; it must have 1 to {MAX_TEXT}")
        if not texts:
            return np.zeros((0, self.channels), np.float32)
        ids = self._tokenizer(list(texts), context_length=self._config.text["context_length"])
        return self._unit(self._model.encode_text(ids.to(self._model.logit_scale.device)), "text")

    def _unit(self, features: torch.Tensor, field: str) -> NDArray[np.float32]:
        return unit_rows(features.float().cpu().numpy(), field=field)

    def _pixels(self, index: int, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [3, S, S]: the short side to S, bicubic, then the middle, as open_clip prepares pictures."""
        _check_image(f"image[{index}]", crop)
        side = self._config.vision["image_size"]
        height, width = crop.shape[:2]
        scaled = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
        if max(scaled) > _MAX_IMAGE_SIDE:
            raise InputError(f"image[{index}]", f"is {width} x {height} pixels, too narrow to be seen")
        image = np.asarray(Image.fromarray(crop).resize(scaled, Image.Resampling.BICUBIC))
        left, top = round((scaled[0] - side) / 2), round((scaled[1] - side) / 2)
        seen = image[top : top + side, left : left + side].astype(np.float32) / 255
        mean, std = (np.array(three, np.float32) for three in (self._config.mean, self._config.std))
        normal = (seen - mean) / std
        return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)


def square_crop(photo: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The square around a box, with a tenth of margin: so that a ski is seen whole, not its middle.

    Args:
        photo: uint8 RGB [H, W, 3].
        box: pixels.

    Returns:
        uint8 RGB [S, S, 3], CLIP's mean colour where the square leaves the photo.

    Raises:
        InputError: the photo is malformed, or the box does not touch it.
    """
    _check_image("photo", photo)
    height, width = photo.shape[:2]
    left, top = max(box.left, 0), max(box.top, 0)
    right, bottom = min(box.right, width), min(box.bottom, height)
    if not (left < right and top < bottom):
        raise InputError("box", f"({box.left}, {box.top}, {box.right}, {box.bottom}) lies outside the photo")
    side = max(1, math.ceil(1.1 * max(right - left, bottom - top)))
    x, y = math.floor((left + right - side) / 2), math.floor((top + bottom - side) / 2)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = np.round(255 * np.array(_MEAN))
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    square[y0 - y : y1 - y, x0 - x : x1 - x] = photo[y0:y1, x0:x1]
    return square


def load_query_encoder(folder: Path, *, device: torch.device | str = "cpu") -> QueryEncoder:
    """Load CLIP from a folder, in float32.

    Args:
        folder: `open_clip_config.json` as published, and `model.safetensors`, which `interactvlm convert-checkpoint`
            makes of `open_clip_pytorch_model.bin` or `open_clip_model.safetensors`.
        device: where to put it.

    Raises:
        CheckpointError: the folder is incomplete, the weights do not fit, or the model is no plain CLIP.
        MissingDependencyError: open_clip is not installed.
    """
    config = _read_config(folder / _CONFIG)
    prepare_torchvision()
    try:
        from open_clip.model import CLIP
        from open_clip.tokenizer import SimpleTokenizer
    except ImportError:
        raise MissingDependencyError("open_clip_torch", "retrieval") from None
    try:
        with torch.device("meta"):
            model = CLIP(config.embedding, config.vision, config.text, quick_gelu=config.quick_gelu)
    except (AssertionError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(folder / _CONFIG, f"describes no CLIP that can be built ({error})") from None
    WeightReader(folder).load_into(model, stored_name=lambda own: own, dtype=torch.float32, device=device)
    length = config.text["context_length"]
    # Causal mask of the text tower: made, not stored.
    model.attn_mask = torch.full((length, length), -torch.inf, device=device).triu_(1)
    return QueryEncoder(model.eval(), SimpleTokenizer(context_length=length), config)


def _read_config(path: Path) -> ClipConfig:
    content = read_json_object(path)
    model, preprocess = content.get("model_cfg"), content.get("preprocess_cfg", {})
    if not isinstance(model, dict) or not isinstance(preprocess, dict):
        raise CheckpointError(path, "has no model_cfg")
    unknown = sorted(model.keys() - {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"})
    if unknown:
        raise CheckpointError(path, f"sets {unknown[0]}, which no plain CLIP has")
    embedding = model.get("embed_dim")
    if type(embedding) is not int or not 1 <= embedding <= 8192:
        raise CheckpointError(path, f"has embed_dim {embedding!r}; it must be from 1 to 8192")
    vision = _sizes(path, "vision_cfg", model.get("vision_cfg"), _VISION)
    text = {"context_length": 77, "vocab_size": 49408} | _sizes(path, "text_cfg", model.get("text_cfg"), _TEXT)
    if text["vocab_size"] != _TEXT["vocab_size"]:
        raise CheckpointError(path, f"has a vocabulary of {text['vocab_size']}; CLIP's has {_TEXT['vocab_size']}")
    if "image_size" not in vision:
        vision["image_size"] = 224
    return ClipConfig(
        embedding=embedding,
        vision=vision,
        text=text,
        quick_gelu=model.get("quick_gelu") is True,
        mean=_colours(path, "mean", preprocess.get("mean", _MEAN)),
        std=_colours(path, "std", preprocess.get("std", _STD)),
    )


def _sizes(path: Path, field: str, found: Any, limits: dict[str, int]) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise CheckpointError(path, f"has no {field}")
    for name, value in found.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name not in limits or not number or (name != "mlp_ratio" and not isinstance(value, int)):
            raise CheckpointError(path, f"sets {field}.{name} to {value!r}, which no plain CLIP has")
        if not 0 < value <= limits[name]:
            raise CheckpointError(path, f"sets {field}.{name} to {value}; the limit is {limits[name]}")
    return dict(found)


def _colours(path: Path, name: str, found: Any) -> tuple[float, ...]:
    good = isinstance(found, (list, tuple)) and len(found) == 3 and all(isinstance(v, (int, float)) for v in found)
    if not good or not all(0 < float(value) < 10 for value in found):
        raise CheckpointError(path, f"has preprocess_cfg.{name} {found!r}; three numbers above 0 are needed")
    return tuple(float(value) for value in found)


def _check_image(field: str, image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(field, f"is {image.dtype} of shape {list(image.shape)}; uint8 [H, W, 3] is needed")
    if not 1 <= min(image.shape[:2]) <= max(image.shape[:2]) <= _MAX_IMAGE_SIDE:
        raise InputError(field, f"has {image.shape[1]} x {image.shape[0]} pixels; sides are 1 to {_MAX_IMAGE_SIDE}")
