from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from interactvlm.evaluation.features import photo_features
from interactvlm.evaluation.inquiry import inquiry_of
from interactvlm.types import Box


class Tower:
    """Sixteen by sixteen tokens of the mean colour of what is seen."""

    image_tokens, width = 256, 3

    def __init__(self) -> None:
        self.model = torch.nn.Linear(2, 2)
        self.calls: list[int] = []

    def preprocessor(self, photos: list[np.ndarray]) -> np.ndarray:
        return np.stack([photo.reshape(-1, 3).mean(0) for photo in photos]).astype(np.float32)

    def __call__(self, colours: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(colours))
        return colours[:, None].expand(-1, 256, -1)


def test_features_are_read_once_and_kept_on_disk(make_samples, tmp_path: Path) -> None:
    inquiries = [inquiry_of(sample) for sample in make_samples(5)]
    tower, ticks = Tower(), []
    first = photo_features(
        tower, inquiries, cache_dir=tmp_path, photos_per_batch=2, progress=lambda *tick: ticks.append(tick)
    )
    again = photo_features(tower, inquiries, cache_dir=tmp_path, photos_per_batch=5)
    assert tower.calls == [2, 2, 1]
    assert ticks == [(2, 5), (4, 5), (5, 5)]
    assert list(first) == list(again) == [inquiry.sample_id for inquiry in inquiries]
    for inquiry in inquiries:
        colour = inquiry.pixels().reshape(-1, 3).mean(0)
        np.testing.assert_array_equal(first[inquiry.sample_id], np.broadcast_to(colour, (64, 3)))
        np.testing.assert_array_equal(again[inquiry.sample_id], first[inquiry.sample_id])


def test_another_tower_another_person_another_file(make_samples, tmp_path: Path) -> None:
    (inquiry,) = (inquiry_of(sample) for sample in make_samples(1))
    tower, other = Tower(), Tower()
    boxed = dataclasses.replace(inquiry, person=Box(0, 0, 12, 12))
    for seen, asked in ((tower, inquiry), (other, inquiry), (tower, boxed)):
        photo_features(seen, [asked], cache_dir=tmp_path)
    assert (tower.calls, other.calls) == ([1, 1], [1])


def test_a_photo_that_cannot_be_read_is_left_out(make_samples, tmp_path: Path) -> None:
    inquiries = [inquiry_of(sample) for sample in make_samples(2)]
    inquiries[0] = dataclasses.replace(inquiries[0], photo=b"no picture")
    assert list(photo_features(Tower(), inquiries, cache_dir=tmp_path)) == ["0001"]
