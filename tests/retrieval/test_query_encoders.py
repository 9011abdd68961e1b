from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from interactvlm.errors import CheckpointError, InputError
from interactvlm.retrieval.query_encoders import QueryEncoder, load_query_encoder, square_crop
from interactvlm.torchvision_cpu import prepare_torchvision
from interactvlm.types import Box

MODEL = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8, "mlp_ratio": 2.5},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
CONFIG = {"model_cfg": MODEL, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.26, 0.27]}}


@pytest.fixture(scope="module")
def reference() -> Any:
    prepare_torchvision()
    from open_clip.model import CLIP

    torch.manual_seed(0)
    return CLIP(MODEL["embed_dim"], MODEL["vision_cfg"], MODEL["text_cfg"]).eval()


@pytest.fixture(scope="module")
def folder(reference: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clip")
    save_file(reference.state_dict(), place / "model.safetensors")
    (place / "open_clip_config.json").write_text(json.dumps(CONFIG))
    return place


@pytest.fixture(scope="module")
def encoder(folder: Path) -> QueryEncoder:
    def refused(*_: object) -> None:
        raise AssertionError("the network was used")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refused)
        patch.setattr(socket, "getaddrinfo", refused)
        return load_query_encoder(folder)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@torch.no_grad()
def test_images_as_open_clip_embeds_them(encoder: QueryEncoder, reference: Any) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    prepare = image_transform_v2(PreprocessCfg(size=32, mean=(0.5, 0.4, 0.3), std=(0.25, 0.26, 0.27)), is_train=False)
    crops = [picture(50, 40), picture(33, 71), picture(32, 32), picture(9, 10)]
    pixels = torch.stack([prepare(Image.fromarray(crop)) for crop in crops])
    expected = reference.encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(encoder.images(crops), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.images(crops[1:2]), expected[1:2], atol=1e-5)


@torch.no_grad()
def test_texts_as_open_clip_embeds_them(encoder: QueryEncoder, reference: Any) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    texts = ["a tennis racket", "Sofa", "an old wooden chair with a very long description " * 4]
    expected = reference.encode_text(SimpleTokenizer(context_length=16)(texts), normalize=True).numpy()
    np.testing.assert_allclose(encoder.texts(texts), expected, atol=1e-5)
    assert encoder.texts([]).shape == encoder.images([]).shape == (0, encoder.channels)


@pytest.mark.parametrize("text", ["", "  ", "x" * 257])
def test_texts_out_of_bounds_are_refused(encoder: QueryEncoder, text: str) -> None:
    with pytest.raises(InputError, match=r"text\[1\]: has"):
        encoder.texts(["chair", text])


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((1, 16384, 3), np.uint8)],
)
def test_malformed_images_are_refused(encoder: QueryEncoder, image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"image\[0\]"):
        encoder.images([image])


def test_a_crop_holds_the_whole_object_in_a_square() -> None:
    photo = picture(60, 100)
    crop = square_crop(photo, Box(10, 20, 90, 30))
    assert crop.shape == (88, 88, 3)
    np.testing.assert_array_equal(crop[19:79], photo[:, 6:94])
    assert (crop[:19] == crop[0, 0]).all()
    assert square_crop(photo, Box(-50, -50, 20, 20)).shape == (22, 22, 3)
    with pytest.raises(InputError, match="outside the photo"):
        square_crop(photo, Box(200, 20, 300, 30))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_cfg": None}, "has no model_cfg"),
        ({"model_cfg": MODEL | {"embed_dim": 10**9}}, "embed_dim 1000000000"),
        ({"model_cfg": MODEL | {"custom_text": True}}, "sets custom_text"),
        ({"model_cfg": MODEL | {"text_cfg": {"hf_model_name": "some/model"}}}, r"sets text_cfg\.hf_model_name"),
        ({"model_cfg": MODEL | {"vision_cfg": {"timm_model_name": "x"}}}, r"sets vision_cfg\.timm_model_name"),
        ({"model_cfg": MODEL | {"vision_cfg": {"width": 10**6}}}, "the limit is 4096"),
        ({"model_cfg": MODEL | {"text_cfg": MODEL["text_cfg"] | {"vocab_size": 10}}}, "vocabulary of 10"),
        ({"model_cfg": MODEL | {"text_cfg": MODEL["text_cfg"] | {"heads": 3}}}, "no CLIP that can be built"),
        ({"model_cfg": MODEL | {"embed_dim": 13}}, "has shape"),
        ({"preprocess_cfg": {"mean": [1]}}, "three numbers"),
    ],
)
def test_other_configurations_are_refused(folder: Path, tmp_path: Path, change: dict, problem: str) -> None:
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(CONFIG | change))
    with pytest.raises(CheckpointError, match=problem):
        load_query_encoder(tmp_path)


def test_a_folder_without_its_parts_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json: does not exist"):
        load_query_encoder(tmp_path)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        load_query_encoder(tmp_path)
