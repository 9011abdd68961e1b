"""From the number of a step to its examples: photos by the mixture, their features, questions, answers and masks.

A batch is a pure function of the configuration and its number; caches change how long it takes, never what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interactvlm.datasets.sample import ContactSample
from interactvlm.detection.selection import select_person
from interactvlm.photo import load_photo
from interactvlm.training.config import StepsPart
from interactvlm.training.examples import ExampleBuilder, Lesson, QuestionMix
from interactvlm.training.feature_cache import FeatureCache, feature_key
from interactvlm.training.mixture import Mixture, seeded
from interactvlm.training.model import TrainingExample
from interactvlm.training.surfaces import TrainingSurface, TrainingSurfaces
from interactvlm.types import WholePhoto
from interactvlm.vlm.vision import VisionTower

__all__ = ["Batches", "PhotoFeatures"]


class PhotoFeatures:
    """The vision tower's features of samples' photos, cut out around the person as the pipeline does; cached.

    Args:
        tower: the frozen vision tower.
        cache: records of [image tokens, width]; None computes every time.
    """

    def __init__(self, tower: VisionTower, cache: FeatureCache | None) -> None:
        self._tower = tower
        self._cache = cache

    def __call__(self, samples: Sequence[ContactSample]) -> list[Tensor]:
        """Float16 [N, D] of each sample."""
        if self._cache is None:
            return list(self._compute(samples).half())
        keys = [feature_key(sample.photo, repr(sample.person)) for sample in samples]
        return self._cache.get(keys, lambda missing: self._compute([samples[i] for i in missing]))

    @torch.no_grad()
    def _compute(self, samples: Sequence[ContactSample]) -> Tensor:
        prepared = []
        for sample in samples:
            photo = load_photo(sample.photo)
            region = select_person(photo, sample.person or WholePhoto(), None).crop
            if region is not None:
                photo = photo[int(region.top) : int(region.bottom), int(region.left) : int(region.right)]
            prepared.append(self._tower.preprocessor.prepare(photo))
        seen: Tensor = self._tower(torch.from_numpy(self._tower.preprocessor(prepared)))
        return seen.cpu()


class Batches:
    """The run's batches by number.

    Args:
        sources: samples of each source.
        ratios: their shares.
        steps: the recipe.
        builder: makes lessons and examples.
        features: of photos.
        surfaces: the body and objects.
    """

    def __init__(
        self,
        sources: Sequence[Sequence[ContactSample]],
        ratios: Sequence[int],
        *,
        steps: StepsPart,
        builder: ExampleBuilder,
        features: PhotoFeatures,
        surfaces: TrainingSurfaces,
    ) -> None:
        self._sources = sources
        self._steps = steps
        self._builder = builder
        self._features = features
        self._surfaces = surfaces
        self._mixture = Mixture([len(source) for source in sources], ratios, seed=steps.seed)
        self._mix = QuestionMix(
            contact=steps.contact,
            scene=steps.scene,
            words=steps.words,
            count=steps.questions,
            untouched=steps.untouched,
            parts_dropout=steps.parts_dropout,
        )

    def draw(self, step: int, *, rank: int = 0, ranks: int = 1) -> list[list[TrainingExample]]:
        """The forward passes of one step (0, 1, ...), this process's share of them; none of them empty."""
        first = step * self._steps.photos
        numbers = range(first + rank, first + self._steps.photos, ranks)
        samples = [self._sample(number) for number in numbers]
        features = self._features(samples)
        passes = []
        for begin in range(0, len(samples), self._steps.photos_at_once):
            part = slice(begin, begin + self._steps.photos_at_once)
            examples = [
                example
                for number, sample, seen in zip(numbers[part], samples[part], features[part], strict=True)
                for example in self._examples(step, number, sample, seen)
            ]
            if examples:
                passes.append(examples)
        return passes

    def _sample(self, number: int) -> ContactSample:
        source, index = self._mixture.draw(number)
        return self._sources[source][index]

    def _examples(self, step: int, number: int, sample: ContactSample, features: Tensor) -> list[TrainingExample]:
        rng = seeded(self._steps.seed, "questions", number)
        share = 0.0 if step < self._steps.align else self._steps.masks
        examples = []
        for lesson in self._builder.lessons(sample, self._mix, rng):
            surface = self._surface(lesson) if rng.random() < share else None
            examples.append(self._builder.example(lesson, features, surface))
        return examples

    def _surface(self, lesson: Lesson) -> TrainingSurface | None:
        if lesson.values is None:
            return None
        return self._surfaces.body if lesson.surface is None else self._surfaces.object(lesson.surface)
