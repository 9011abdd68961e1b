"""What the projector's tokens must tell while it learns to see; thrown away afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from interactvlm.body.parts import PART_NAMES
from interactvlm.training.sight.words import WordVectors
from interactvlm.vlm.projector import BlockProjector

__all__ = ["SightBatch", "SightHeads", "SightLosses"]

_WIDTH, _ATTENTION_HEADS, _LAYERS = 256, 4, 2
#: How much of a word an image token must hold to be counted as showing it, in deviations of the words' embeddings (a
#: word itself is some 24 of them away from the mean of all), and how sharply. Fixed, not learned: a learned scale is
#: content with a trace of the word, which the language model would not notice.
_ENOUGH, _SHARP = 8.0, 0.5
#: A cell that shows an object weighs so much more than one of the background or a person.
_OBJECT_CELL = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class SightBatch:
    """Photos with what is known of them. P photos, N image tokens, C cells, T things, Q questions, h hidden size.

    Attributes:
        features: float [P, N, D] of the vision tower.
        known: int64 [K], the photos whose cells are known.
        cells: float32 [K, C, 1 + T], share of each cell that shows nothing, or a thing.
        tokens: float32 [K, N, T + 15], 1 where an image token shows a thing, or what a body part touches.
        photo_of: int64 [Q], the photo of each question.
        names: float32 [Q, h], what each question asks about.
        contacts: float32 [Q, 16], the parts that touch it, and whether any does.
    """

    features: Tensor
    known: Tensor
    cells: Tensor
    tokens: Tensor
    photo_of: Tensor
    names: Tensor
    contacts: Tensor


@dataclass(frozen=True, slots=True)
class SightLosses:
    """Scalars: what cells show, what image tokens are like, what touches what; and the answers' logits [Q, 16]."""

    cells: Tensor
    tokens: Tensor
    contacts: Tensor
    answers: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.cells + self.tokens + 2 * self.contacts


class SightHeads(nn.Module):
    """Three readings of the projector's output.

    Cells are classified by comparing them with the words of things. Image tokens themselves must be like the words of
    what they show, and of the body parts that touch it, so that the language model finds words where it looks. And a
    small decoder that is asked about a name must find the parts that touch it in the image tokens alone.

    Args:
        words: the language model's words.
        width: of a cell's features.
    """

    things: Tensor
    alike: Tensor
    mean: Tensor

    def __init__(self, words: WordVectors, *, width: int) -> None:
        super().__init__()
        things, parts = words.things(), words.parts()
        hidden = things.shape[1]
        self.register_buffer("things", things, persistent=False)
        self.register_buffer("alike", torch.cat((things, parts)), persistent=False)
        self.register_buffer("mean", words.mean, persistent=False)
        self.cell = nn.Linear(width, hidden)
        self.nothing = nn.Linear(width, 1)
        self._deviation = words.deviation
        self.name = nn.Linear(hidden, _WIDTH)
        self.memory = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, _WIDTH))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                _WIDTH, _ATTENTION_HEADS, 2 * _WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(_LAYERS)
        )
        self.answer = nn.Sequential(nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, len(PART_NAMES) + 1))

    def forward(self, projector: BlockProjector, batch: SightBatch) -> SightLosses:
        """Losses of a batch."""
        seen = projector.seen(batch.features)
        tokens = projector.tokens(seen)
        answers = self.answers(tokens, batch.photo_of, batch.names).float()
        contacts = functional.binary_cross_entropy_with_logits(answers, batch.contacts, reduction="none").sum(-1).mean()
        return SightLosses(
            cells=self._cells(seen[batch.known], batch.cells),
            tokens=self._tokens(tokens[batch.known], batch.tokens),
            contacts=contacts,
            answers=answers,
        )

    def answers(self, tokens: Tensor, photo_of: Tensor, names: Tensor) -> Tensor:
        """Logits [Q, 16] of questions about photos' image tokens [P, N, h]."""
        memory = self.memory((tokens - self.mean) / self._deviation)
        # The questions about one photo in one row: they do not see each other, for a mask keeps them apart.
        rows, places = _rows(photo_of, len(tokens))
        asked = memory.new_zeros((len(tokens), int(places.max()) + 1, memory.shape[-1]))
        asked = asked.index_put((rows, places), self.name(names).to(asked.dtype))
        alone = ~torch.eye(asked.shape[1], dtype=torch.bool, device=asked.device)
        for layer in self.layers:
            asked = layer(asked, memory, tgt_mask=alone)
        answered: Tensor = self.answer(asked[rows, places])
        return answered

    def scores(self, projector: BlockProjector, batch: SightBatch) -> dict[str, float]:
        """How well contact can be read off the image tokens: F1 of the parts, share of "touched or not" got right."""
        answers = self.answers(projector(batch.features), batch.photo_of, batch.names).float()
        said, true = answers > 0, batch.contacts > 0
        found = (said & true)[:, :-1].sum().item()
        f1 = 2 * found / max(1, (said[:, :-1].sum() + true[:, :-1].sum()).item())
        return {"part_f1": f1, "touched_acc": (said[:, -1] == true[:, -1]).float().mean().item()}

    def _cells(self, seen: Tensor, truth: Tensor) -> Tensor:
        if not len(truth):
            return seen.new_zeros((), dtype=torch.float32)
        with torch.autocast(seen.device.type, enabled=False):
            like = self.cell(seen.float()) @ self.things.T
            logits = torch.cat((self.nothing(seen.float()), like), dim=-1)
            weight = 1 + (_OBJECT_CELL - 1) * truth[..., 2:].sum(-1)  # neither nothing nor a person
            each = -(truth * logits.log_softmax(-1)).sum(-1)
            return (each * weight).sum() / weight.sum()

    def _tokens(self, tokens: Tensor, truth: Tensor) -> Tensor:
        if not len(truth):
            return tokens.new_zeros((), dtype=torch.float32)
        with torch.autocast(tokens.device.type, enabled=False):
            held = (tokens.float() - self.mean) @ self.alike.T / self._deviation
            logits = _SHARP * (held - _ENOUGH)
            return functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(-1).mean()


def _rows(photo_of: Tensor, photos: int) -> tuple[Tensor, Tensor]:
    """Each question's row (its photo) and its place among the questions about that photo."""
    order = torch.arange(len(photo_of), device=photo_of.device)
    counts = torch.bincount(photo_of, minlength=photos)
    first = torch.cat((counts.new_zeros(1), counts.cumsum(0)[:-1]))
    return photo_of, order - first[photo_of]  # questions come photo by photo
