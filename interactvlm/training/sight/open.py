"""The first phase of a run, put together from the run's own parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from interactvlm.datasets.sample import ContactSample
from interactvlm.training.batches import PhotoFeatures
from interactvlm.training.config import TrainingConfig
from interactvlm.training.model import TrainableModel
from interactvlm.training.phase import Phase, phase_recipe
from interactvlm.training.sight.batches import SightBatches
from interactvlm.training.sight.heads import SightHeads
from interactvlm.training.sight.photos import SightPhoto, see
from interactvlm.training.sight.run import sight_phase
from interactvlm.training.sight.words import WordVectors
from interactvlm.training.sources import geometry_of
from interactvlm.vlm.preprocess import PhotoPreprocessor
from interactvlm.vlm.projector import BlockProjector
from interactvlm.vlm.tokenizer import Tokenizer

__all__ = ["open_sight"]


def open_sight(
    config: TrainingConfig,
    *,
    model: TrainableModel,
    table: torch.Tensor,
    tokenizer: Tokenizer,
    sources: Sequence[Sequence[ContactSample]],
    held_out: Sequence[ContactSample] | None,
    features: PhotoFeatures,
    preprocessor: PhotoPreprocessor,
    part_index: NDArray[np.uint8],
    folder: Path,
    writes: bool,
) -> Phase | None:
    """The first phase; None where there is none: [sight] has no steps, weights are there, or the projector no blocks.

    Args:
        config: the configuration.
        model: the trainable model.
        table: float [W, h], the language model's token embeddings.
        tokenizer: its tokenizer.
        sources: samples of each source.
        held_out: samples to score the phase on.
        features: of samples' photos.
        preprocessor: of the vision tower.
        part_index: uint8 [V] of the body.
        folder: the run's.
        writes: whether this process writes.
    """
    projector, part = model.network.model.mm_projector, config.sight
    if not part.steps or config.model.start != "fresh" or not isinstance(projector, BlockProjector):
        return None
    words = WordVectors(table, tokenizer)
    cells = round(projector.averages**0.5)
    merge = model.config.vision_merge

    def known(source: Sequence[ContactSample], index: int) -> SightPhoto:
        geometry = geometry_of(source, index)
        return see(source[index], geometry, preprocessor=preprocessor, cells=cells, part_index=part_index)

    def batches(samples: Sequence[Sequence[ContactSample]], ratios: Sequence[int]) -> SightBatches:
        return SightBatches(
            samples,
            ratios,
            photos=part.photos,
            seed=config.steps.seed,
            features=features,
            see=known,
            words=words,
            merge=merge,
        )

    torch.manual_seed(config.steps.seed)
    return sight_phase(
        projector=projector,
        heads=SightHeads(words, width=projector.width).to(model.device),
        batches=batches(sources, [source.ratio for source in config.data]),
        held_out=None if held_out is None else batches([held_out], [1]),
        part=part,
        folder=folder / "sight",
        precision=config.steps.precision,
        save_every=config.run.save_every,
        writes=writes,
        recipe=phase_recipe(config, part),
    )
