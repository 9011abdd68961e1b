"""Training only the rows of added tokens: their embeddings, and what the output layer scores them with.

The rest of the table stays frozen, and no gradient of its size is ever formed (at nano's size the table is a fifth of
the model, at the published sizes two tables of 32,000 rows).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from interactvlm.vlm.network import ContactNetwork

__all__ = ["AddedRows", "RowScores", "train_added_rows"]


class AddedRows(nn.Module):
    """A table [W + A, h] whose last A rows are trained.

    Args:
        table: the whole table.
        first: W, the first trained row.
    """

    def __init__(self, *, table: Tensor, first: int) -> None:
        super().__init__()
        self.frozen = nn.Parameter(table[:first].detach().clone(), requires_grad=False)
        self.rows = nn.Parameter(table[first:].detach().clone().float())

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings: int64 [...] to [..., h], in the frozen rows' dtype."""
        count = len(self.frozen)
        known = functional.embedding(ids.clamp(max=count - 1), self.frozen)
        added = functional.embedding((ids - count).clamp(min=0), self.rows).to(known.dtype)
        return torch.where((ids < count)[..., None], known, added)

    def scores(self, states: Tensor) -> Tensor:
        """Scores of all rows: [..., h] to [..., W + A]."""
        return torch.cat(
            (functional.linear(states, self.frozen), functional.linear(states, self.rows.to(states.dtype))), dim=-1
        )


class RowScores(nn.Module):
    """The output layer over such a table.

    Args:
        table: the table.
        tied: whether the embedding owns it; it is then no child of this module.
    """

    def __init__(self, table: AddedRows, *, tied: bool) -> None:
        super().__init__()
        self._tied = (table,)  # a tuple hides it from the module tree
        if not tied:
            self.table = table

    def forward(self, states: Tensor) -> Tensor:
        """[..., h] to [..., W + A]."""
        return self._tied[0].scores(states)


def train_added_rows(network: ContactNetwork) -> None:
    """Replace embedding and output layer, so that the rows from the first contact token on are trained."""
    first = min(network.config.contact_token_ids.values())
    language = network.model
    embedding = AddedRows(table=language.embed_tokens.weight, first=first)
    tied = network.lm_head is None
    head = embedding if network.lm_head is None else AddedRows(table=network.lm_head.weight, first=first)
    language.embed_tokens = embedding  # type: ignore[assignment]  # used through forward alone
    network.lm_head = RowScores(head, tied=tied)  # type: ignore[assignment]
