from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.layout import SAM_VIT_H, official_layout
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError
from interactvlm.mvloc.camera_gate import CAMERA_GATE_PREFIX, build_camera_gate
from interactvlm.mvloc.decoder import (
    PROMPT_ENCODER_PREFIX,
    MaskPredictor,
    build_mask_decoder,
    build_prompt_encoder,
    upsampled,
)
from interactvlm.mvloc.encoder import ENCODER_PREFIX, ImageEncoder, build_image_encoder, sam_input
from interactvlm.mvloc.splitter import SPLITTER_PREFIX, AttentionSplitter

CPU = torch.device("cpu")


@pytest.mark.parametrize("token_type", ["Gen", "Gen-Hu-Obj", "Gen-Int", "Gen-Hu-Obj-DifDe"])
def test_full_size_modules_are_the_official_layout(token_type: str) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = ReleaseConfig.from_dict({**sizes, "vocab_size": 8, "token_type": token_type}, source="test")
    visual = "model.visual_model."
    with torch.device("meta"):
        parts = {
            ENCODER_PREFIX: build_image_encoder(SAM_VIT_H),
            PROMPT_ENCODER_PREFIX: build_prompt_encoder(SAM_VIT_H.grid),
            CAMERA_GATE_PREFIX: build_camera_gate(config),
        }
        names = ("human_mask_decoder", "object_mask_decoder") if config.separate_decoders else ("mask_decoder",)
        parts |= {f"{visual}{name}.": build_mask_decoder() for name in names}
        if config.has_splitter:
            parts[SPLITTER_PREFIX] = AttentionSplitter()
    ours = {prefix + name: tuple(v.shape) for prefix, part in parts.items() for name, v in part.state_dict().items()}
    prefixes = (visual, "cam_pose_encoder.", "attention_splitter.")
    official = {n: s for n, s in official_layout(config, SAM_VIT_H).required.items() if n.startswith(prefixes)}
    assert ours == official


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_preprocessing_is_sams(height: int, width: int, seed: int) -> None:
    from segment_anything.utils.transforms import ResizeLongestSide  # after the remedy for torchvision

    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels, size = sam_input(image, 64)
    if min(ResizeLongestSide.get_preprocess_shape(height, width, 64)) < 1:
        return  # SAM itself refuses slivers; here they keep one row of pixels
    resized = ResizeLongestSide(64).apply_image(image)
    assert size == resized.shape[:2]
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    np.testing.assert_allclose(pixels[:, : size[0], : size[1]], ((resized - mean) / std).transpose(2, 0, 1), atol=1e-5)
    assert pixels[:, size[0] :].abs().sum() == 0
    assert pixels[:, :, size[1] :].abs().sum() == 0


def test_encoder_embeds_views_independently(tiny_checkpoint: Callable[..., Path]) -> None:
    encoder = ImageEncoder.load(WeightReader(tiny_checkpoint()), CPU, torch.float32)
    images = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    embedded = encoder.encode_images(images)
    assert embedded.shape == (3, 256, 8, 8)
    assert torch.equal(encoder.encode_images(images[[2, 0]]), embedded[[2, 0]])


def test_folder_without_encoder_says_so(tmp_path: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(tiny_checkpoint() / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if not n.startswith(ENCODER_PREFIX)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds no model"):
        ImageEncoder.load(WeightReader(tmp_path), CPU, torch.float32)


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Callable[..., Path]) -> MaskPredictor:
    reader = WeightReader(tiny_checkpoint())
    prefix = "model.visual_model.mask_decoder."
    return MaskPredictor.load(reader, decoder_prefix=prefix, grid=8, device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("tokens", [1, 4])
@torch.inference_mode()
def test_decoder_is_sams_own(predictor: MaskPredictor, tokens: int) -> None:
    torch.manual_seed(1)
    embeddings, prompts = torch.randn(4, 256, 8, 8), torch.randn(5, tokens, 256)
    logits, quality = predictor(embeddings, prompts)
    assert logits.shape == (5, 4, 32, 32)
    dense = predictor.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 8, 8)
    for view in range(4):
        expected, expected_quality = predictor.mask_decoder(
            image_embeddings=embeddings[view : view + 1],
            image_pe=predictor.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=prompts,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        scale = float(expected.abs().max())
        torch.testing.assert_close(logits[:, view], expected[:, 0], atol=2e-5 * scale, rtol=0)
        torch.testing.assert_close(quality[:, view], expected_quality[:, 0], atol=1e-3, rtol=1e-4)


@torch.inference_mode()
def test_questions_do_not_see_each_other(predictor: MaskPredictor) -> None:
    torch.manual_seed(2)
    embeddings, prompts = torch.randn(4, 256, 8, 8), torch.randn(6, 4, 256)
    together, _ = predictor(embeddings, prompts)
    order = torch.tensor([5, 3, 0, 1, 4, 2])
    shuffled, _ = predictor(embeddings, prompts[order])
    alone, _ = predictor(embeddings, prompts[3:4])
    scale = float(together.abs().max())
    torch.testing.assert_close(shuffled, together[order], atol=1e-5 * scale, rtol=0)
    torch.testing.assert_close(alone[0], together[3], atol=1e-5 * scale, rtol=0)


def test_upsampling_keeps_leading_axes() -> None:
    logits = torch.arange(2 * 3 * 4 * 4, dtype=torch.bfloat16).view(2, 3, 4, 4)
    full = upsampled(logits, 8)
    assert full.shape == (2, 3, 8, 8)
    assert full.dtype == torch.float32
    torch.testing.assert_close(full[1, 2, 1, 1], 0.5625 * 80 + 0.1875 * (81 + 84) + torch.tensor(0.0625 * 85))
