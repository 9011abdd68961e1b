"""Batches of the first phase, by number: photos in the order of the run's mixture, and what is known of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from interactvlm.body.parts import PART_NAMES
from interactvlm.datasets.sample import ContactSample
from interactvlm.training.mixture import Mixture
from interactvlm.training.sight.heads import SightBatch
from interactvlm.training.sight.photos import CELL, SightPhoto, questions
from interactvlm.training.sight.words import THINGS, WordVectors

__all__ = ["SightBatches"]

#: An image token shows a thing that fills more than this share of it.
_SHOWS = 0.02
_CLASSES = 1 + len(THINGS)
Features = Callable[[Sequence[ContactSample]], list[Tensor]]
See = Callable[[Sequence[ContactSample], int], SightPhoto]


class SightBatches:
    """Everything the first phase learns from, in memory but for the photos' features.

    Args:
        sources: samples of each source.
        ratios: their shares.
        photos: in a batch.
        seed: of the order.
        features: of samples' photos, [N, D] each.
        see: what is known of a source's sample.
        words: the language model's words.
        merge: m, side of the square of cells in an image token.
    """

    def __init__(
        self,
        sources: Sequence[Sequence[ContactSample]],
        ratios: Sequence[int],
        *,
        photos: int,
        seed: int,
        features: Features,
        see: See,
        words: WordVectors,
        merge: int,
    ) -> None:
        self._sources = sources
        self._photos = photos
        self._features = features
        self._words = words
        self._merge = merge
        self._mixture = Mixture([len(source) for source in sources], ratios, seed=seed)
        self._see = see

    @cached_property
    def _known(self) -> list[list[SightPhoto]]:
        """Read when first needed: a run whose first phase is done needs none of it."""
        return [
            [self._see(source, i) for i in tqdm(range(len(source)), "reading labels", file=sys.stderr, mininterval=2)]
            for source in self._sources
        ]

    def draw(self, step: int) -> SightBatch:
        """The batch of step 0, 1, ..."""
        drawn = [self._mixture.draw(number) for number in range(step * self._photos, (step + 1) * self._photos)]
        return self._batch(drawn)

    def first(self, count: int) -> SightBatch:
        """The first photos of the first source."""
        return self._batch([(0, index) for index in range(min(count, len(self._sources[0])))])

    def _batch(self, drawn: Sequence[tuple[int, int]]) -> SightBatch:
        seen = [self._known[source][index] for source, index in drawn]
        asked = list(questions(seen))
        known = [index for index, photo in enumerate(seen) if photo.shown is not None]
        cells = [cell_shares(seen[index]) for index in known]
        tokens = [token_words(seen[index], self._merge) for index in known]
        features = self._features([self._sources[source][index] for source, index in drawn])
        return SightBatch(
            features=torch.stack(features).float(),
            known=torch.tensor(known, dtype=torch.long),
            cells=torch.stack(cells) if cells else torch.zeros(0),
            tokens=torch.stack(tokens) if tokens else torch.zeros(0),
            photo_of=torch.tensor([photo for photo, _, _ in asked]),
            names=torch.stack([self._words(name) for _, name, _ in asked]),
            contacts=torch.from_numpy(np.stack([contact for _, _, contact in asked])),
        )


def cell_shares(photo: SightPhoto) -> Tensor:
    """Float32 [C, 1 + T]: share of each cell that shows nothing, or a thing."""
    if photo.shown is None:
        raise ValueError("nobody knows what the photo shows")
    side = len(photo.shown) // CELL
    samples = photo.shown.reshape(side, CELL, side, CELL).transpose(0, 2, 1, 3).reshape(side * side, CELL * CELL)
    shares = np.zeros((side * side, _CLASSES), np.float32)
    np.add.at(shares, (np.arange(side * side)[:, None], samples), 1 / CELL**2)
    return torch.from_numpy(shares)


def token_words(photo: SightPhoto, merge: int) -> Tensor:
    """Float32 [N, T + 15]: 1 where an image token shows a thing, or something that a body part touches."""
    if photo.touched is None:
        raise ValueError("nobody knows what the photo shows")
    shares = token_means(cell_shares(photo), merge)[:, 1:]
    bits = (photo.touched[..., None] >> np.arange(len(PART_NAMES))) & 1
    side = len(bits) // CELL
    touching = bits.reshape(side, CELL, side, CELL, -1).mean((1, 3)).reshape(side * side, -1).astype(np.float32)
    parts = token_means(torch.from_numpy(touching), merge)
    return (torch.cat((shares, parts), dim=1) > _SHOWS).float()


def token_means(cells: Tensor, merge: int) -> Tensor:
    """Means over the cells of each image token: [N * m * m, X], row by row of the photo, to [N, X]."""
    side = round(len(cells) ** 0.5) // merge
    return cells.reshape(side, merge, side, merge, -1).mean((1, 3)).flatten(0, 1)
