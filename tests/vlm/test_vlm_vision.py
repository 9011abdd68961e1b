from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from interactvlm.errors import CheckpointError, PhotoError
from interactvlm.torchvision_cpu import prepare_torchvision
from interactvlm.vlm.preprocess import PhotoPreprocessor
from interactvlm.vlm.vision import VisionTower

prepare_torchvision()
from transformers import CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model  # noqa: E402

PREPROCESSOR = PhotoPreprocessor(shortest_edge=56, crop_size=56, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
RECIPE: dict[str, Any] = {
    "size": {"shortest_edge": 56},
    "crop_size": {"height": 56, "width": 56},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
    "resample": 3,
}


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 255))
def test_any_size_becomes_one_square(height: int, width: int, grey: int) -> None:
    photo = np.full((height, width, 3), grey, np.uint8)
    if max(height, width) > 64 * min(height, width):
        with pytest.raises(PhotoError, match="64 times"):
            PREPROCESSOR([photo])
        return
    pixels = PREPROCESSOR([photo])
    assert pixels.shape == (1, 3, 56, 56)
    assert pixels.dtype == np.float32
    expected = [(grey / 255 - m) / s for m, s in zip(PREPROCESSOR.mean, PREPROCESSOR.std, strict=True)]
    np.testing.assert_allclose(pixels[0].mean((1, 2)), expected, atol=1e-5)


def test_the_middle_is_kept() -> None:
    photo = np.zeros((56, 168, 3), np.uint8)
    photo[:, 56:112] = 255
    plain = PhotoPreprocessor(shortest_edge=56, crop_size=56, mean=(0, 0, 0), std=(1, 1, 1))
    np.testing.assert_array_equal(plain([photo]), 1.0)
    np.testing.assert_array_equal(plain([photo.transpose(1, 0, 2)]), 1.0)


@pytest.mark.parametrize(("edge", "crop"), [(56, 56), (57, 30)])
def test_prepared_photos_give_the_same_pixels(edge: int, crop: int) -> None:
    preprocessor = PhotoPreprocessor(shortest_edge=edge, crop_size=crop, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    photo = np.random.default_rng(0).integers(0, 256, (83, 140, 3), dtype=np.uint8)
    prepared = preprocessor.prepare(photo)
    assert prepared.pixels.shape == (crop, crop, 3)
    np.testing.assert_array_equal(preprocessor([prepared, photo]), preprocessor([photo, photo]))


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(photo: np.ndarray) -> None:
    with pytest.raises(PhotoError, match="must be RGB uint8"):
        PREPROCESSOR([photo])


@pytest.mark.parametrize("size", [56, {"shortest_edge": 56}, {"height": 56, "width": 56}])
def test_recipes_of_every_form(tmp_path: Path, size: Any) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**RECIPE, "size": size, "crop_size": 56}))
    assert PhotoPreprocessor.from_folder(tmp_path) == PREPROCESSOR


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": {"height": 56, "width": 28}}, "not a square"),
        ({"size": "56"}, "usable size"),
        ({"crop_size": 57}, "crop_size <= size"),
        ({"image_std": [0, 1, 1]}, "positive image_std"),
        ({"image_mean": [0, 1]}, "usable size"),
        ({"image_mean": None}, "usable size"),
        ({"resample": 2}, "key resample is 2"),
    ],
)
def test_broken_recipes(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**RECIPE, **change}))
    with pytest.raises(CheckpointError, match=message):
        PhotoPreprocessor.from_folder(tmp_path)


def test_missing_or_unreadable_recipe(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json"):
        PhotoPreprocessor.from_folder(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        PhotoPreprocessor.from_folder(tmp_path)


def _tower(folder: Path, kind: str) -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    model = (
        CLIPVisionModel(CLIPVisionConfig(**sizes, intermediate_size=64))
        if kind == "clip"
        else Dinov2Model(Dinov2Config(**sizes, mlp_ratio=2))
    ).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(RECIPE))
    return model


def _load(folder: Path, *, select_layer: int = -2, pool: int = 1) -> VisionTower:
    return VisionTower.from_folder(folder, select_layer=select_layer, pool=pool, device="cpu", dtype=torch.float32)


@torch.inference_mode()
def test_clip_gives_the_chosen_hidden_state(tmp_path: Path) -> None:
    model = _tower(tmp_path, "clip")
    pixels = torch.randn(2, 3, 56, 56)
    expected = model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    tower = _load(tmp_path)
    torch.testing.assert_close(tower(pixels), expected)
    assert (tower.image_tokens, tower.width) == (16, 32)


@torch.inference_mode()
def test_clip_as_downloaded_with_its_text_half(tmp_path: Path) -> None:
    model = _tower(tmp_path, "clip")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "clip", "vision_config": config, "text_config": {}})
    )
    stored = {f"vision_model.{name}": tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    stored |= {"text_model.final_layer_norm.weight": torch.ones(3), "logit_scale": torch.ones(())}
    stored["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    pixels = torch.randn(1, 3, 56, 56)
    expected = model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    torch.testing.assert_close(_load(tmp_path)(pixels), expected)


@torch.inference_mode()
def test_dinov2_is_normed_and_averaged_over_squares(tmp_path: Path) -> None:
    model = _tower(tmp_path, "dinov2")
    pixels = torch.randn(2, 3, 56, 56)
    patches = model(pixel_values=pixels).last_hidden_state[:, 1:].reshape(2, 4, 4, 32)
    tower = _load(tmp_path, select_layer=-1, pool=2)
    assert tower.image_tokens == 4
    expected = torch.stack([patches[:, y : y + 2, x : x + 2].mean((1, 2)) for y in (0, 2) for x in (0, 2)], dim=1)
    torch.testing.assert_close(tower(pixels), expected)


@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_missing_and_misshapen_tensors(tmp_path: Path, kind: str) -> None:
    _tower(tmp_path, kind)
    stored = load_file(tmp_path / "model.safetensors")
    name = next(name for name in stored if name.endswith("fc1.weight"))
    save_file({**stored, name: torch.zeros(2, 2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"has shape \(2, 2\)"):
        _load(tmp_path)
    save_file({n: t for n, t in stored.items() if n != name}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 1 tensors"):
        _load(tmp_path)


def test_broken_towers(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json"):
        _load(tmp_path / "nowhere")
    _tower(tmp_path, "clip")
    with pytest.raises(CheckpointError, match="hidden state -5 is asked"):
        _load(tmp_path, select_layer=-5)
    with pytest.raises(CheckpointError, match="does not fit"):
        _load(tmp_path, pool=3)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(CheckpointError, match="no readable"):
        _load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"not even a pickle")
    with pytest.raises(CheckpointError, match="no readable"):
        _load(tmp_path)
    for content, message in (
        ("{", "not valid JSON"),
        ("[]", "key model_type is None"),
        ('{"model_type": "vit"}', "'vit'"),
    ):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(CheckpointError, match=message):
            _load(tmp_path)
