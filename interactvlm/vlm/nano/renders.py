"""nano's encoder of renders (Theta): the DINOv2-shaped ViT of the photos, in the names of SAM's image encoder.

Both are pre-norm ViTs. What SAM's lacks is folded away: layer scale into the layers it scales, stored positions into
the smaller grid of the renders; relative positions are zero. CLS and the final norm have no place and are dropped: the
neck behind, which is trained here, makes up for both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from interactvlm.checkpoints.layout import SamSizes
from interactvlm.vlm.nano.vision import VISION_CONFIG

__all__ = ["RENDER_ENCODER", "RENDER_ENCODER_PREFIX", "render_encoder_tensors"]

RENDER_ENCODER_PREFIX = "model.visual_model.image_encoder."

#: 336 px renders, 24 x 24 tokens that all see one another, masks of 96 x 96.
RENDER_ENCODER = SamSizes(
    width=VISION_CONFIG["hidden_size"],
    depth=VISION_CONFIG["num_hidden_layers"],
    heads=VISION_CONFIG["num_attention_heads"],
    global_blocks=tuple(range(VISION_CONFIG["num_hidden_layers"])),
    patch=VISION_CONFIG["patch_size"],
    image_size=24 * VISION_CONFIG["patch_size"],
    mlp_ratio=VISION_CONFIG["mlp_ratio"],
)

# Module of a SAM block -> module of a DINOv2 layer, and the layer scale behind it.
_MODULES = {
    "norm1": ("norm1", None),
    "norm2": ("norm2", None),
    "attn.proj": ("attention.output.dense", "layer_scale1.lambda1"),
    "mlp.lin1": ("mlp.fc1", None),
    "mlp.lin2": ("mlp.fc2", "layer_scale2.lambda1"),
}
_QKV = ("query", "key", "value")


def render_encoder_tensors(tower: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Everything of Theta but its neck, by official name.

    Args:
        tower: the ViT's tensors by the names of published DINOv2 folders (`vision.read_vision_tower`).
    """
    sizes, made = RENDER_ENCODER, {}
    made["pos_embed"] = _resized(tower["embeddings.position_embeddings"][:, 1:], sizes.grid)
    for leaf in ("weight", "bias"):
        made[f"patch_embed.proj.{leaf}"] = tower[f"embeddings.patch_embeddings.projection.{leaf}"]
    span = np.zeros((2 * sizes.grid - 1, sizes.width // sizes.heads), np.float32)
    for i in range(sizes.depth):
        block, layer = f"blocks.{i}.", f"encoder.layer.{i}."
        for leaf in ("weight", "bias"):
            parts = [tower[f"{layer}attention.attention.{name}.{leaf}"] for name in _QKV]
            made[f"{block}attn.qkv.{leaf}"] = np.concatenate(parts)
            for module, (source, scale) in _MODULES.items():
                value = tower[f"{layer}{source}.{leaf}"]
                if scale is not None:
                    factor = tower[f"{layer}{scale}"]
                    value = value * (factor[:, None] if value.ndim == 2 else factor)
                made[f"{block}{module}.{leaf}"] = value
        made[f"{block}attn.rel_pos_h"] = made[f"{block}attn.rel_pos_w"] = span
    return {RENDER_ENCODER_PREFIX + name: np.ascontiguousarray(value) for name, value in made.items()}


def _resized(positions: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """Stored positions [1, n n, C] on a grid of another side, [1, grid, grid, C], as DINOv2 interpolates them."""
    import torch
    from torch.nn import functional

    side = round(positions.shape[1] ** 0.5)
    square = torch.from_numpy(positions.copy()).view(1, side, side, -1).permute(0, 3, 1, 2)
    resized = functional.interpolate(square, (grid, grid), mode="bicubic", align_corners=False)
    return np.asarray(resized.permute(0, 2, 3, 1).numpy())
