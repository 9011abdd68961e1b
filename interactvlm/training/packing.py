"""Several questions on one photo in one row: the photo is read once, and its questions do not see each other.

Examples that share an image-feature tensor and everything in front of the image become one row: the shared beginning,
then each question with its answer as a branch. A row with one example is an ordinary sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interactvlm.vlm.llama import TokenTree

if TYPE_CHECKING:
    from interactvlm.training.model import TrainingExample

__all__ = ["IGNORED_LABEL", "IMAGE_TOKEN", "PackedRows", "pack"]

IMAGE_TOKEN = -200
"""Id that stands for the image in `TrainingExample.input_ids`."""
IGNORED_LABEL = -100
"""Label of a token that is given, not predicted."""


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A batch as the language model reads it: R rows of B positions, padded at the end.

    Attributes:
        ids: int64 [R, B], 0 where the image or padding stands.
        features: float [R, N, D], each row's image.
        image_places: int64 [2, R N], (row, column) of the image tokens.
        tree: who sees whom; None while every row holds one example.
        predicting: int64 [2, M], (row, column) of the states that predict a label.
        labels: int64 [M].
        contact_places: (row, column) of the state that predicts each example's contact token, None for those without.
    """

    ids: Tensor
    features: Tensor
    image_places: Tensor
    tree: TokenTree | None
    predicting: Tensor
    labels: Tensor
    contact_places: tuple[tuple[int, int] | None, ...]


def pack(examples: Sequence[TrainingExample]) -> PackedRows:
    """Arrange a batch; examples were checked before.

    Args:
        examples: at least one, their images of one shape.
    """
    rows: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for index, example in enumerate(examples):
        before = tuple(example.input_ids[: _image_at(example)].tolist())
        rows.setdefault((id(example.image_features), before), []).append(index)

    ids: list[list[int]] = []
    owners: list[list[int]] = []
    positions: list[list[int]] = []
    predicting: list[tuple[int, int]] = []
    labels: list[int] = []
    contact_places: list[tuple[int, int] | None] = [None] * len(examples)
    features, image_places = [], []
    for row, ((_, before), members) in enumerate(rows.items()):
        image = examples[members[0]].image_features
        features.append(image.float())
        image_places += [(row, len(before) + i) for i in range(len(image))]
        prefix = len(before) + len(image)
        row_ids, owner, position = [*before, *([0] * len(image))], [0] * prefix, list(range(prefix))
        for branch, index in enumerate(members, start=1):
            example = examples[index]
            after = _image_at(example) + 1
            start = len(row_ids)
            # The last token of an answer predicts nothing.
            row_ids += example.input_ids[after:-1].tolist()
            kept = len(row_ids) - start
            owner += [branch] * kept
            position += range(prefix, prefix + kept)
            for offset, label in enumerate(example.labels[after:].tolist()):
                if label != IGNORED_LABEL:
                    predicting.append((row, start + offset - 1 if offset else prefix - 1))
                    labels.append(label)
            if example.contact_position is not None:
                offset = example.contact_position - after
                contact_places[index] = (row, start + offset - 1 if offset else prefix - 1)
        ids.append(row_ids)
        owners.append(owner)
        positions.append(position)

    width = max(map(len, ids))
    tree = None
    if len(rows) < len(examples):
        tree = _tree(torch.tensor([_padded(o, width, -1) for o in owners]), [_padded(p, width, 0) for p in positions])
    return PackedRows(
        ids=torch.tensor([_padded(row, width, 0) for row in ids]),
        features=torch.stack(features),
        image_places=torch.tensor(image_places).T,
        tree=tree,
        predicting=torch.tensor(predicting).T,
        labels=torch.tensor(labels),
        contact_places=tuple(contact_places),
    )


def _tree(owners: Tensor, positions: list[list[int]]) -> TokenTree:
    """A token sees what stands before it in its own branch and in the beginning (owner 0); padding (-1) sees itself."""
    order = torch.arange(owners.shape[1])
    related = (owners[:, :, None] == owners[:, None, :]) | (owners[:, None, :] == 0)
    return TokenTree(positions=torch.tensor(positions), visible=related & (order[:, None] >= order))


def _padded(values: list[int], width: int, filler: int) -> list[int]:
    return values + [filler] * (width - len(values))


def _image_at(example: TrainingExample) -> int:
    return int((example.input_ids == IMAGE_TOKEN).nonzero()[0, 0])
