"""A checkpoint folder of a few kilobytes' worth of encoder with random weights, in the official layout."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from safetensors.torch import save_file

from interactvlm.body.template import BodyTemplate
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.layout import SamSizes, official_layout
from interactvlm.geometry.mesh import Mesh

SIZES = SamSizes(width=16, depth=2, heads=2, global_blocks=(1,), image_size=128)


def random_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The same values for the same name in every folder."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    made: dict[str, Path] = {}

    def make(**config: Any) -> Path:
        key = json.dumps(config, sort_keys=True)
        if key not in made:
            raw: dict[str, Any] = {
                "hidden_size": 8,
                "intermediate_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
                "vocab_size": 8,
                "sam_image_size": SIZES.image_size,
                "hC_loss_weight": 3.0,
                "oC_loss_weight": 3.0,
                **config,
            }
            folder = tmp_path_factory.mktemp("checkpoint")
            layout = official_layout(ReleaseConfig.from_dict(raw, source="test"), SIZES)
            tensors = {
                name: 0.2 * random_tensor(name, shape)
                for name, shape in layout.required.items()
                if not name.startswith(("model.layers", "model.embed", "lm_head"))
            }
            # These kinds were never published: any name will do.
            unnamed = {"simple": {"w": (256, 5), "b": (256,)}, "view_index": {"table": (4, 256)}}
            for name, shape in unnamed.get(raw.get("cam_encoder_type", "vi_v1"), {}).items():
                tensors[f"cam_pose_encoder.{name}"] = random_tensor(name, shape)
            save_file(tensors, folder / "model.safetensors")
            (folder / "config.json").write_text(json.dumps(raw))
            made[key] = folder
        return made[key]

    return make


@pytest.fixture(scope="session")
def ball() -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=0.4)
    return Mesh(np.asarray(sphere.vertices, dtype=np.float32), np.asarray(sphere.faces, dtype=np.int32))


@pytest.fixture(scope="session")
def ball_body(ball: Mesh) -> BodyTemplate:
    return BodyTemplate("anny", ball.vertices, ball.faces, np.zeros(len(ball.vertices), dtype=np.uint8))
