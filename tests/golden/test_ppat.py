from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from interactvlm.retrieval.point_groups import farthest_points
from interactvlm.retrieval.shape_encoder import ShapeEncoder, ShapeEncoderConfig, load_shape_encoder

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Recorded:
    encoder: ShapeEncoder
    arrays: dict[str, np.ndarray]

    @property
    def clouds(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.arrays["xyz"]), torch.from_numpy(self.arrays["rgb"])


@pytest.fixture(scope="module")
def recorded(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("ppat")
    (folder / "model.safetensors").symlink_to((golden / "ppat" / "ppat.safetensors").resolve())
    described = json.loads((golden / "ppat" / "ppat.json").read_text())
    sizes = described["point_patch_transformer"]
    config = ShapeEncoderConfig(
        width=sizes["dim"],
        depth=sizes["depth"],
        heads=sizes["heads"],
        head_width=described["dim_head"],
        mlp_width=sizes["mlp_dim"],
        group_width=sizes["sa_dim"],
        groups=sizes["patches"],
        radius=sizes["prad"],
        group_size=sizes["nsamp"],
        embedding=described["proj_out"],
    )
    return Recorded(load_shape_encoder(folder, config=config), dict(np.load(golden / "ppat" / "ppat.npz")))


def same(ours: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=TOLERANCE)


def test_sampling_starts_at_the_first_point(recorded: Recorded) -> None:
    points, _ = recorded.clouds
    index = farthest_points(points, recorded.encoder.config.groups)
    np.testing.assert_array_equal(index.numpy(), recorded.arrays["fps_index"])


@torch.no_grad()
def test_groups(recorded: Recorded) -> None:
    centres, features = recorded.encoder.grouping(*recorded.clouds, None)
    same(centres, recorded.arrays["group_centers"])
    same(features, recorded.arrays["group_features"])


@torch.no_grad()
def test_embedding_and_cosine(recorded: Recorded) -> None:
    same(recorded.encoder.class_features(*recorded.clouds), recorded.arrays["cls_out"])
    embedding = recorded.encoder(*recorded.clouds)
    same(embedding, recorded.arrays["embedding"])
    unit = functional.normalize(embedding, dim=-1)
    same(unit, recorded.arrays["embedding_normalised"])
    query = functional.normalize(torch.from_numpy(recorded.arrays["query"]), dim=-1)
    same(query @ unit.T, recorded.arrays["cosine"])


@torch.no_grad()
def test_a_batch_equals_its_clouds_one_by_one(recorded: Recorded) -> None:
    points, colours = recorded.clouds
    alone = torch.cat([recorded.encoder(p[None], c[None]) for p, c in zip(points, colours, strict=True)])
    np.testing.assert_allclose(alone.numpy(), recorded.encoder(points, colours).numpy(), rtol=0, atol=1e-5)
