"""Theta: SAM's image encoder, sized by the checkpoint's own tensors (paper, section 3).

The encoder is segment_anything's; nothing in config.json tells its width or depth, so `EncoderShape` reads them off
the stored tensors. It is frozen in every release: its outputs depend on the picture alone and are cached (cache.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from interactvlm.errors import CheckpointError
from interactvlm.torchvision_cpu import prepare_torchvision

if TYPE_CHECKING:
    from interactvlm.checkpoints.reader import WeightReader

prepare_torchvision()
from segment_anything.modeling import ImageEncoderViT  # noqa: E402 - after the remedy above

__all__ = ["ENCODER_PREFIX", "SAM_VIT_H", "EncoderShape", "ImageEncoder", "build_image_encoder", "sam_input"]

ENCODER_PREFIX = "model.visual_model.image_encoder."
_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of an image encoder.

    Attributes:
        grid: side of its token grid.
        patch: side of a token in pixels.
        width: channels inside.
        depth: number of blocks.
        heads: attention heads.
        mlp_width: channels inside a block's MLP.
        window: side of the attention window of the local blocks, tokens.
        global_blocks: the blocks that attend to the whole grid.
        out_channels: channels of the embedding.
    """

    grid: int
    patch: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    window: int
    global_blocks: tuple[int, ...]
    out_channels: int

    @property
    def image_size(self) -> int:
        """Side of the square input, pixels."""
        return self.grid * self.patch

    @classmethod
    def from_shapes(cls, shape_of: Callable[[str], tuple[int, ...]], names: tuple[str, ...]) -> EncoderShape:
        """Infer the sizes.

        Args:
            shape_of: from a stored name to its shape.
            names: every stored name.

        Raises:
            KeyError: the encoder's tensors are not among `names`.
            ValueError: their shapes do not fit together.
        """
        blocks = [int(m[1]) for n in names if (m := re.match(re.escape(ENCODER_PREFIX) + r"blocks\.(\d+)\.", n))]
        if not blocks or ENCODER_PREFIX + "pos_embed" not in names:
            raise KeyError("no image encoder")
        depth = max(blocks) + 1
        _, grid, grid_width, width = shape_of(ENCODER_PREFIX + "pos_embed")
        tables = [shape_of(f"{ENCODER_PREFIX}blocks.{i}.attn.rel_pos_h") for i in range(depth)]
        everywhere = 2 * grid - 1
        local = {rows for rows, _ in tables if rows != everywhere}
        if grid != grid_width or len(local) > 1 or any(width % head for _, head in tables):
            raise ValueError("the image encoder's position tables do not fit together")
        return cls(
            grid=grid,
            patch=shape_of(ENCODER_PREFIX + "patch_embed.proj.weight")[-1],
            width=width,
            depth=depth,
            heads=width // tables[0][1],
            mlp_width=shape_of(ENCODER_PREFIX + "blocks.0.mlp.lin1.weight")[0],
            window=(local.pop() + 1) // 2 if local else grid,
            global_blocks=tuple(i for i, (rows, _) in enumerate(tables) if rows == everywhere),
            out_channels=shape_of(ENCODER_PREFIX + "neck.0.weight")[0],
        )

    @classmethod
    def from_reader(cls, reader: WeightReader) -> EncoderShape:
        """Infer the sizes from a checkpoint.

        Raises:
            CheckpointError: it holds no image encoder, or one of impossible shapes.
        """
        try:
            return cls.from_shapes(reader.shape, reader.names())
        except KeyError:
            raise CheckpointError(
                reader.folder, f"holds no {ENCODER_PREFIX}* tensors: no image can be encoded"
            ) from None
        except ValueError as error:
            raise CheckpointError(reader.folder, f"cannot be used: {error}") from None


SAM_VIT_H = EncoderShape(
    grid=64,
    patch=16,
    width=1280,
    depth=32,
    heads=16,
    mlp_width=5120,
    window=14,
    global_blocks=(7, 15, 23, 31),
    out_channels=256,
)
"""The published encoder."""


def build_image_encoder(shape: EncoderShape) -> nn.Module:
    """segment_anything's encoder of these sizes, with fresh weights on the current default device."""
    encoder: nn.Module = ImageEncoderViT(
        img_size=shape.image_size,
        patch_size=shape.patch,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=shape.mlp_width / shape.width,
        out_chans=shape.out_channels,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=shape.window,
        global_attn_indexes=shape.global_blocks,
    )
    return encoder


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

    def __init__(self, *, module: nn.Module, shape: EncoderShape, device: torch.device, dtype: torch.dtype) -> None:
        self._module = module
        self.shape = shape
        self._device = device
        self._dtype = dtype

    @classmethod
    def load(cls, reader: WeightReader, device: torch.device, dtype: torch.dtype) -> ImageEncoder:
        """Stream the encoder's tensors from a checkpoint into place.

        Raises:
            CheckpointError: it holds no image encoder, or an incomplete one.
        """
        shape = EncoderShape.from_reader(reader)
        with torch.device("meta"):
            module = build_image_encoder(shape)
        reader.load_into(module, stored_name=lambda own: ENCODER_PREFIX + own, dtype=dtype, device=device)
        return cls(module=module.eval(), shape=shape, device=device, dtype=dtype)

    @torch.inference_mode()
    def encode(self, inputs: Tensor) -> Tensor:
        """Embed preprocessed pictures, one at a time: global attention over one grid is what memory must hold.

        Args:
            inputs: float32 [N, 3, S, S] from `sam_input`.

        Returns:
            [N, C, grid, grid] in the encoder's dtype, on its device.
        """
        return torch.cat([self._module(row[None].to(self._device, self._dtype)) for row in inputs])

    def encode_images(self, images: NDArray[np.uint8]) -> Tensor:
        """`sam_input` and `encode` for RGB uint8 [N, H, W, 3]: [N, C, grid, grid]."""
        return self.encode(torch.stack([sam_input(image, self.shape.image_size)[0] for image in images]))
