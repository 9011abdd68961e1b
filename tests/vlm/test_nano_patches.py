from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from interactvlm.vlm.nano.configuration import VISION_TOWER_DIR
from interactvlm.vlm.nano.patches import load_nano_patches
from interactvlm.vlm.vision import VisionTower


def test_patches_are_the_frozen_tower_s_and_do_not_depend_on_the_batch(nano_folder: Path) -> None:
    encoder = load_nano_patches()
    images = np.random.default_rng(0).integers(0, 255, (9, 56, 56, 3), np.uint8)
    found = encoder(images)
    assert found.shape == (9, 4, 4, encoder.channels)
    assert np.abs(found[3] - encoder(images[3:4])[0]).max() < 1e-3
    assert encoder(images[:0]).shape == (0, 4, 4, encoder.channels)
    tower = VisionTower.from_folder(
        nano_folder / VISION_TOWER_DIR, select_layer=-1, pool=1, device="cpu", dtype=torch.float32
    )
    mean, std = np.array(tower.preprocessor.mean), np.array(tower.preprocessor.std)
    pixels = torch.from_numpy((((images[:2] / 255) - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        expected = tower(pixels).numpy().reshape(2, 4, 4, -1)
    assert np.abs(found[:2] - expected).max() < 1e-3
