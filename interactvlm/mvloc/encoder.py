"""Theta: SAM's image encoder, sized by the checkpoint's own tensors (paper, section 3).

The encoder is segment_anything's; nothing in config.json tells its width or depth, so they are read off the stored
tensors. It is frozen in every release: its outputs depend on the picture alone and are cached (cache.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from interactvlm.checkpoints.layout import SamSizes, infer_sam_sizes
from interactvlm.errors import CancelledError, CheckpointError
from interactvlm.torchvision_cpu import prepare_torchvision

if TYPE_CHECKING:
    from interactvlm.checkpoints.reader import WeightReader

prepare_torchvision()
from segment_anything.modeling import ImageEncoderViT  # noqa: E402 - after the remedy above

__all__ = ["ENCODER_PREFIX", "ImageEncoder", "build_image_encoder", "encoder_sizes", "sam_input"]

ENCODER_PREFIX = "model.visual_model.image_encoder."
_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)


def build_image_encoder(sizes: SamSizes) -> nn.Module:
    """segment_anything's encoder of these sizes, with fresh weights on the current default device."""
    encoder: nn.Module = ImageEncoderViT(
        img_size=sizes.image_size,
        patch_size=sizes.patch,
        embed_dim=sizes.width,
        depth=sizes.depth,
        num_heads=sizes.heads,
        mlp_ratio=sizes.mlp_ratio,
        out_chans=256,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=sizes.window,
        global_attn_indexes=sizes.global_blocks,
    )
    return encoder


def encoder_sizes(reader: WeightReader) -> SamSizes:
    """Sizes of a checkpoint's image encoder.

    Raises:
        CheckpointError: it holds none, or one of impossible shapes.
    """
    shapes = {name: reader.shape(name) for name in reader.names() if name.startswith(ENCODER_PREFIX)}
    if not shapes:
        raise CheckpointError(reader.folder, f"holds no {ENCODER_PREFIX}* tensors: no picture can be encoded")
    return infer_sam_sizes(shapes)


def sam_input(image: NDArray[np.uint8], image_size: int) -> tuple[Tensor, tuple[int, int]]:
    """SAM's preprocessing: longest side to `image_size`, normalise, pad right and below with zeros.

    Args:
        image: RGB uint8 [H, W, 3].
        image_size: side of the encoder's input.

    Returns:
        float32 [3, image_size, image_size], and the (height, width) of the resized picture inside it.
    """
    height, width = image.shape[:2]
    scale = image_size / max(height, width)
    new = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
    if new != (height, width):
        image = np.asarray(Image.fromarray(image).resize((new[1], new[0]), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_PIXEL_MEAN, _PIXEL_STD))
    return F.pad((pixels - mean) / std, (0, image_size - new[1], 0, image_size - new[0])), new


class ImageEncoder:
    """Theta with its weights, in one dtype on one device."""

    def __init__(self, *, module: nn.Module, sizes: SamSizes, device: torch.device, dtype: torch.dtype) -> None:
        self._module = module
        self.sizes = sizes
        self._device = device
        self._dtype = dtype

    @classmethod
    def load(cls, reader: WeightReader, device: torch.device, dtype: torch.dtype) -> ImageEncoder:
        """Stream the encoder's tensors from a checkpoint into place.

        Raises:
            CheckpointError: it holds no image encoder, or an incomplete one.
        """
        sizes = encoder_sizes(reader)
        with torch.device("meta"):
            module = build_image_encoder(sizes)
        reader.load_into(module, stored_name=lambda own: ENCODER_PREFIX + own, dtype=dtype, device=device)
        return cls(module=module.eval(), sizes=sizes, device=device, dtype=dtype)

    @torch.no_grad()  # not inference mode: training takes these tensors, too, computed or from the cache
    def encode(self, inputs: Tensor, *, should_stop: Callable[[], bool] | None = None) -> Tensor:
        """Embed preprocessed pictures, one at a time: global attention over one grid is what memory must hold.

        Args:
            inputs: float32 [N, 3, S, S] from `sam_input`.
            should_stop: asked before each picture (at the published size seconds on a CPU); True gives up.

        Returns:
            [N, C, grid, grid] in the encoder's dtype, on its device.

        Raises:
            CancelledError: `should_stop` said so.
        """
        embedded = []
        for row in inputs:
            if should_stop is not None and should_stop():
                raise CancelledError("the call was cancelled while its views were encoded")
            embedded.append(self._module(row[None].to(self._device, self._dtype)))
        return torch.cat(embedded)

    def encode_images(self, images: NDArray[np.uint8], *, should_stop: Callable[[], bool] | None = None) -> Tensor:
        """`sam_input` and `encode` for RGB uint8 [N, H, W, 3]: [N, C, grid, grid]."""
        inputs = torch.stack([sam_input(image, self.sizes.image_size)[0] for image in images])
        return self.encode(inputs, should_stop=should_stop)
