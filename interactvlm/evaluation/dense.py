"""A dense regressor in DECO's manner, on the same frozen vision features: contact without a language model.

Attention over the photo's cells, a small network, and a low-rank head onto the body's vertices. The binary variant
asks nothing; the semantic variant (Semantic-DECO) is told the object's name by a learned vector. Fitted on the
training split in minutes on a CPU.

Shapes: P photos, C channels, V vertices, K names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from interactvlm.errors import InputError
from interactvlm.evaluation.features import FEATURE_SIDE, Features
from interactvlm.evaluation.predictions import Answer
from interactvlm.evaluation.prior import moved_to_half
from interactvlm.evaluation.truth import HumanTruth, TruthSet
from interactvlm.types import Task

__all__ = ["DenseRegressor", "fit_dense"]

_RANK = 64
_HIDDEN = 512
_PER_CELL = 32
_NAME = 64
_HEADS = 4
_BATCH = 32
_EPOCHS = 30
_MAX_STEPS = 2000
_UNKNOWN_SHARE = 0.1
_HELD_BACK = 10  # one photo in so many tunes the threshold
_CUTS = np.linspace(0.05, 0.95, 37)


class _Network(nn.Module):
    """Cells and a name to logits on the body."""

    def __init__(self, *, channels: int, names: int, vertices: int) -> None:
        super().__init__()
        cells = FEATURE_SIDE**2
        self.norm = nn.LayerNorm(channels)
        self.per_cell = nn.Linear(channels, _PER_CELL)
        self.name = nn.Embedding(names, _NAME)
        self.query = nn.Linear(_NAME, _HEADS * _PER_CELL)
        self.key = nn.Linear(channels, _HEADS * _PER_CELL)
        self.body = nn.Sequential(
            nn.Linear(cells * _PER_CELL + _HEADS * channels + _NAME, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _RANK)
        )
        self.basis = nn.Parameter(torch.randn(_RANK, vertices) * 0.02)
        self.offset = nn.Parameter(torch.zeros(vertices))

    def forward(self, features: Tensor, names: Tensor) -> Tensor:
        """[P, 64, C] and [P] to logits [P, V]."""
        cells = self.norm(features)
        name = self.name(names)
        query = self.query(name).unflatten(1, (_HEADS, _PER_CELL))
        key = self.key(cells).unflatten(2, (_HEADS, _PER_CELL))
        attention = torch.einsum("phd,pchd->phc", query, key).div(_PER_CELL**0.5).softmax(-1)
        looked_at = torch.einsum("phc,pcf->phf", attention, cells)
        grid = functional.gelu(self.per_cell(cells))
        state = self.body(torch.cat([grid.flatten(1), looked_at.flatten(1), name], dim=1))
        logits: Tensor = state @ self.basis + self.offset
        return logits


@dataclass(frozen=True, slots=True, eq=False)
class DenseRegressor:
    """A fitted regressor.

    Attributes:
        network: cells and a name to logits.
        names: index of each category the network knows; 0 is "any".
        task: BINARY or SEMANTIC.
        threshold: the best one on the photos that were held back from fitting.
    """

    network: nn.Module
    names: dict[str, int]
    task: Task
    threshold: float

    def answers(self, truths: TruthSet, features: Features) -> Iterator[Answer]:
        """Answers to all questions of its task; of the truth, only categories are read.

        Args:
            truths: whose questions are answered.
            features: of their photos.
        """
        rows = [row for row in truths.human if row.task is self.task and row.sample_id in features]
        for start in range(0, len(rows), _BATCH):
            group = rows[start : start + _BATCH]
            values = moved_to_half(_probabilities(self.network, group, features, self.names), self.threshold)
            for row, probabilities in zip(group, values, strict=True):
                yield Answer(row.sample_id, row.key, probabilities)


def fit_dense(
    training: TruthSet,
    features: Features,
    *,
    task: Task,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> DenseRegressor:
    """Fit on the training split.

    Args:
        training: its annotations.
        features: of its photos; rows without are left out.
        task: BINARY or SEMANTIC.
        seed: of initial weights and batches.
        progress: called with (steps done, steps in all).

    Raises:
        InputError: the split has fewer than two annotated photos for the task.
    """
    rows = [row for row in training.human if row.task is task and row.sample_id in features]
    photos = list(dict.fromkeys(row.sample_id for row in rows))
    if len(photos) < 2:
        raise InputError("training split", f"has {len(photos)} photos annotated for {task.value}; 2 are needed")
    tuning = set(photos[:: min(_HELD_BACK, len(photos))])
    fitted, held = [r for r in rows if r.sample_id not in tuning], [r for r in rows if r.sample_id in tuning]
    names = {name: i for i, name in enumerate(sorted({row.category for row in fitted} - {""}), start=1)}
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        channels = next(iter(features.values())).shape[1]
        network = _Network(channels=channels, names=len(names) + 1, vertices=training.body.vertex_count)
    mean = _targets(fitted, training.body.vertex_count).mean(0).clamp(1e-3, 1 - 1e-3)
    network.offset.data.copy_(torch.logit(mean))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
    per_epoch = -(-len(fitted) // _BATCH)
    steps = min(_EPOCHS * per_epoch, _MAX_STEPS)
    order: list[int] = []
    for step in range(steps):
        if len(order) < min(_BATCH, len(fitted)):
            order += torch.randperm(len(fitted), generator=generator).tolist()
        batch, order = [fitted[i] for i in order[:_BATCH]], order[_BATCH:]
        cells, asked = _inputs(batch, features, names)
        dropped = torch.rand(len(batch), generator=generator) < _UNKNOWN_SHARE
        logits = network(cells, asked.masked_fill(dropped, 0))
        loss = _loss(logits, _targets(batch, training.body.vertex_count))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
    network.eval().requires_grad_(False)
    return DenseRegressor(network, names, task, _best_cut(network, held, features, names))


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy and, for touched rows, Dice."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target)
    probability = logits.sigmoid()
    overlap, mass = (probability * target).sum(1), (probability + target).sum(1)
    dice = 1 - (2 * overlap + 1) / (mass + 1)
    return entropy + (dice * (target.sum(1) > 0)).mean()


def _inputs(rows: list[HumanTruth], features: Features, names: dict[str, int]) -> tuple[Tensor, Tensor]:
    cells = torch.from_numpy(np.stack([features[row.sample_id] for row in rows]).astype(np.float32))
    return cells, torch.tensor([names.get(row.category, 0) for row in rows])


def _targets(rows: list[HumanTruth], vertices: int) -> Tensor:
    target = torch.zeros(len(rows), vertices)
    for index, row in enumerate(rows):
        target[index, torch.from_numpy(row.vertices.astype(np.int64))] = 1
    return target


@torch.inference_mode()
def _probabilities(
    network: nn.Module, rows: list[HumanTruth], features: Features, names: dict[str, int]
) -> NDArray[np.float32]:
    values: NDArray[np.float32] = network(*_inputs(rows, features, names)).sigmoid().numpy()
    return values


def _best_cut(network: nn.Module, rows: list[HumanTruth], features: Features, names: dict[str, int]) -> float:
    """The threshold with the best mean F1 on touched rows."""
    f1 = np.zeros(len(_CUTS))
    for row in (row for row in rows if row.touched):
        values = _probabilities(network, [row], features, names)[0]
        predicted = len(values) - np.searchsorted(np.sort(values), _CUTS)
        hits = len(row.vertices) - np.searchsorted(np.sort(values[row.vertices]), _CUTS)
        f1 += 2 * hits / (predicted + len(row.vertices))
    return float(_CUTS[int(f1.argmax())]) if f1.any() else 0.5
