"""From the vision tower's features to image tokens of the language model: the released layer, or nano's blocks.

The released checkpoints carry one linear layer. nano's vision tower was never trained with words, and its language
model is far too small to make up for that: here, transformer blocks over the averages of patches look at the whole
photo before the linear layer.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from interactvlm.checkpoints.config import ReleaseConfig

__all__ = ["BlockProjector", "image_projector", "spread_out"]

#: Width of one attention head.
HEAD = 64
#: The linear layer's output times this is an image token. Embeddings of words are small numbers (their deviation is
#: 0.14 in SmolLM2): with weights as small as that asks for, one step of AdamW would change them by half.
GAIN = 0.1


def image_projector(config: ReleaseConfig) -> nn.Module:
    """The projector that the configuration asks for: [P, N, mm_hidden_size] to [P, N, h]."""
    if not config.mm_projector_blocks:
        return nn.Linear(config.mm_hidden_size, config.hidden_size)
    return BlockProjector(
        blocks=config.mm_projector_blocks,
        tokens=config.image_tokens,
        merge=config.vision_merge,
        width=config.mm_hidden_size,
        hidden=config.hidden_size,
    )


class BlockProjector(nn.Module):
    """Transformer blocks over averages of patches, then one linear layer over those that make an image token together.

    Args:
        blocks: how many.
        tokens: N, image tokens of a photo, a square number.
        merge: m, side of the square of averages in an image token.
        width: of an image token's features, m * m times that of an average.
        hidden: h, of the language model.
    """

    def __init__(self, *, blocks: int, tokens: int, merge: int, width: int, hidden: int) -> None:
        super().__init__()
        self._merge = merge
        self.averages = tokens * merge**2
        self.width = width // merge**2
        self.pos_embed = nn.Parameter(torch.zeros(self.averages, self.width))
        self.blocks = nn.ModuleList(_Block(self.width) for _ in range(blocks))
        self.linear = nn.Linear(width, hidden)

    @torch.no_grad()
    def begin(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Set what the linear layer and the gain do together, and the blocks so that they change nothing yet."""
        self.linear.weight.copy_(weight / GAIN)
        self.linear.bias.copy_(bias / GAIN)
        self.pos_embed.zero_()
        for name, parameter in self.blocks.named_parameters():
            if name.split(".")[1] in ("proj", "fc2"):  # what is added to the stream
                parameter.zero_()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Image tokens: [P, N, m * m * d] to [P, N, h]."""
        return self.tokens(self.seen(features))

    def tokens(self, seen: torch.Tensor) -> torch.Tensor:
        """Image tokens of what `seen` gives: [P, N * m * m, d] to [P, N, h]."""
        projected: torch.Tensor = GAIN * self.linear(self.merged(seen))
        return projected

    def seen(self, features: torch.Tensor) -> torch.Tensor:
        """The averages after all blocks, row by row of the photo: [P, N, m * m * d] to [P, N * m * m, d]."""
        x = spread_out(features, self._merge) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x

    def merged(self, averages: torch.Tensor) -> torch.Tensor:
        """The inverse of `spread_out`: [P, N * m * m, d] to [P, N, m * m * d]."""
        side, merge = round(averages.shape[1] ** 0.5), self._merge
        grid = averages.reshape(len(averages), side // merge, merge, side // merge, merge, -1)
        return grid.transpose(2, 3).flatten(3).flatten(1, 2)


def spread_out(features: torch.Tensor, merge: int) -> torch.Tensor:
    """Image tokens of m x m things side by side to the things, row by row: [P, N, m * m * d] to [P, N * m * m, d]."""
    side = round(features.shape[1] ** 0.5)
    grid = features.reshape(len(features), side, side, merge, merge, -1)
    return grid.transpose(2, 3).flatten(1, 4)


class _Block(nn.Module):
    """Self-attention and MLP, each on what is normalised before and added after."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._heads = max(1, width // HEAD)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        queries, keys, values = self.qkv(self.norm1(x)).unflatten(2, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        out: torch.Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return out
