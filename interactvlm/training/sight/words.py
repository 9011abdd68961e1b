"""What the language model calls things, as vectors: its own embeddings of a name's tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from interactvlm.body.parts import PART_NAMES
from interactvlm.objects.categories import CATEGORIES
from interactvlm.vlm.tokenizer import Tokenizer

__all__ = ["PERSON", "THINGS", "WordVectors"]

PERSON = "person"
#: What a cell of a photo may show besides nothing, in the order of its classes from 1 on.
THINGS: tuple[str, ...] = (PERSON, *sorted(CATEGORIES))


class WordVectors:
    """Names as the mean of their tokens' embeddings.

    Args:
        table: float [W, h], the language model's token embeddings.
        tokenizer: its tokenizer.
    """

    def __init__(self, table: Tensor, tokenizer: Tokenizer) -> None:
        self._table = table.detach().float().cpu()
        self._tokenizer = tokenizer
        self._known: dict[str, Tensor] = {}
        #: Mean and deviation of all embeddings: image tokens live in the same range.
        self.mean, self.deviation = self._table.mean(0), float(self._table.std())

    def __call__(self, name: str) -> Tensor:
        """Float32 [h], the deviation from the mean of all embeddings, of length 1."""
        if name not in self._known:
            ids = self._tokenizer.encode(f" {name}")
            vector = self._table[torch.tensor(ids)].mean(0) - self.mean
            self._known[name] = vector / vector.norm()
        return self._known[name]

    def things(self) -> Tensor:
        """Float32 [len(THINGS), h]."""
        return torch.stack([self(name) for name in THINGS])

    def parts(self) -> Tensor:
        """Float32 [15, h], of the body parts."""
        return torch.stack([self(name) for name in PART_NAMES])
