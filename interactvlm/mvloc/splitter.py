"""The attention splitter of the joint models: one answer's tokens seen from the body's or the object's side.

Shapes: Q questions, J view tokens, C = 256 channels, D = 128 inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interactvlm.types import Target

__all__ = ["SPLITTER_PREFIX", "AttentionSplitter", "side_of_token"]

SPLITTER_PREFIX = "attention_splitter."


def side_of_token(token: str, target: Target) -> Target | None:
    """Which query of the splitter a contact token takes; None: it passes unchanged.

    [HSEG] and [OSEG] name their side; the interaction token [ISEG] serves both, so the surface decides.
    """
    match token:
        case "[HSEG]":
            return Target.HUMAN
        case "[OSEG]":
            return Target.OBJECT
        case "[ISEG]":
            return target
        case _:
            return None


class AttentionSplitter(nn.Module):
    """Single-head attention among the view tokens, with a query of its own for each side (release, "Gen-Hu-Obj")."""

    def __init__(self, *, channels: int = 256, inner: int = 128) -> None:
        super().__init__()
        self.input_proj = nn.Linear(channels, inner)
        self.query_human = nn.Linear(inner, inner)
        self.query_object = nn.Linear(inner, inner)
        self.key = nn.Linear(inner, inner)
        self.value = nn.Linear(inner, inner)
        self.output_proj = nn.Linear(inner, channels)

    def forward(self, prompts: Tensor, sides: Sequence[Target | None]) -> Tensor:
        """Split prompts [Q, J, C]; a question whose side is None passes unchanged.

        Args:
            prompts: camera-conditioned embeddings, [Q, J, C].
            sides: per question.

        Returns:
            [Q, J, C].
        """
        split = prompts.clone()
        for side, query in ((Target.HUMAN, self.query_human), (Target.OBJECT, self.query_object)):
            rows = [i for i, own in enumerate(sides) if own is side]
            if not rows:
                continue
            index = torch.tensor(rows, device=prompts.device)
            hidden = self.input_proj(prompts[index])
            mixed = F.scaled_dot_product_attention(query(hidden), self.key(hidden), self.value(hidden))
            split[index] = self.output_proj(mixed)
        return split
