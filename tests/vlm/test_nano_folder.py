from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.layout import infer_sam_sizes, official_layout
from interactvlm.checkpoints.manifest import read_manifest, verify_manifest
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError
from interactvlm.mvloc.encoder import build_image_encoder
from interactvlm.torchvision_cpu import prepare_torchvision
from interactvlm.vlm.nano import NANO_NOTICE, assemble
from interactvlm.vlm.nano.initialise import initial_tensor
from interactvlm.vlm.nano.language import GgufLanguageModel
from interactvlm.vlm.nano.manifest import ASSETS, WEIGHTS_FILE, NanoManifest
from interactvlm.vlm.nano.packages import IMAGE_ENCODER, LANGUAGE_MODEL
from interactvlm.vlm.nano.renders import RENDER_ENCODER, RENDER_ENCODER_PREFIX, render_encoder_tensors
from interactvlm.vlm.nano.tensors import ADDED_ROWS, NanoTensors, shipped_weights
from interactvlm.vlm.nano.vision import read_vision_tower

prepare_torchvision()
from transformers import Dinov2Model  # noqa: E402


@pytest.fixture(scope="module")
def language() -> GgufLanguageModel:
    return GgufLanguageModel(LANGUAGE_MODEL.locate())


@pytest.fixture(scope="module")
def shipped() -> dict[str, np.ndarray]:
    with safe_open(ASSETS / WEIGHTS_FILE, framework="numpy") as file:
        return {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118


def _tensor(folder: Path, name: str) -> np.ndarray:
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        return file.get_tensor(name)


def test_names_and_shapes_are_the_official_ones(nano_folder: Path) -> None:
    reader = WeightReader(nano_folder)
    shapes = {name: reader.shape(name) for name in reader.names()}
    assert infer_sam_sizes(shapes) == RENDER_ENCODER
    layout = official_layout(ReleaseConfig.from_folder(nano_folder), RENDER_ENCODER)
    assert (layout.missing(shapes), layout.left_over(shapes), layout.wrong_shapes(shapes)) == ([], [], {})


def test_config_says_what_it_is(nano_folder: Path) -> None:
    config = ReleaseConfig.from_folder(nano_folder)
    assert not config.trained
    assert config.notice == NANO_NOTICE
    assert config.has_human_head
    assert config.has_object_head
    assert (config.image_tokens, config.vision_pool, config.vision_merge, config.sam_image_size) == (64, 2, 2, 336)
    assert (config.num_key_value_heads, config.rope_theta, config.rms_norm_eps) == (3, 1e5, 1e-5)
    assert config.seg_token_idx == config.vocab_size - 1
    raw = json.loads((nano_folder / "nano_manifest.json").read_text())
    assert raw["trained"] is False


def test_files_match_their_hashes(nano_folder: Path) -> None:
    verify_manifest(nano_folder)
    verify_manifest(nano_folder / "vision_tower")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= read_manifest(nano_folder).keys()


def test_found_again_without_packages(nano_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("nothing is to be built")

    monkeypatch.setattr("interactvlm.vlm.nano.packages.NanoPackage.locate", fail)
    assert assemble() == nano_folder


def test_language_weights_are_the_packages_with_the_update_merged(
    nano_folder: Path, language: GgufLanguageModel, shipped: dict[str, np.ndarray]
) -> None:
    for name in ("model.layers.7.self_attn.q_proj", "model.layers.29.self_attn.v_proj"):
        down, up = shipped[f"{name}.lora_A.default.weight"], shipped[f"{name}.lora_B.default.weight"]
        merged = language.tensor(f"{name}.weight") + 16 / len(down) * up @ down
        assert np.abs(_tensor(nano_folder, f"{name}.weight") - merged).max() < 2e-3 * np.abs(merged).max()
    for name in ("model.layers.3.self_attn.k_proj.weight", "model.norm.weight"):
        assert np.array_equal(_tensor(nano_folder, name), language.tensor(name).astype(np.float16))


def test_contact_token_is_the_last_row_and_the_last_id(
    nano_folder: Path, language: GgufLanguageModel, shipped: dict[str, np.ndarray]
) -> None:
    from tokenizers import Tokenizer

    table = _tensor(nano_folder, "model.embed_tokens.weight")
    assert np.array_equal(table[-1:], shipped[ADDED_ROWS].astype(np.float16))
    assert np.array_equal(table[:-1], language.tensor("model.embed_tokens.weight").astype(np.float16))
    tokenizer = Tokenizer.from_file(str(nano_folder / "tokenizer.json"))
    assert tokenizer.token_to_id("[SEG]") == len(table) - 1 == tokenizer.get_vocab_size() - 1


def test_untrained_parts_come_from_the_seed(nano_folder: Path) -> None:
    seed = NanoManifest.read().seed
    for name in ("cam_pose_encoder.spatial_encoder.0.weight", "model.visual_model.mask_decoder.mask_tokens.weight"):
        found = _tensor(nano_folder, name)
        assert np.array_equal(found, initial_tensor(name, found.shape, seed).astype(np.float16))


def test_renders_are_seen_by_the_photos_encoder(nano_folder: Path) -> None:
    tower = read_vision_tower(IMAGE_ENCODER.locate())
    for name, expected in render_encoder_tensors(tower).items():
        assert np.array_equal(_tensor(nano_folder, name), expected.astype(np.float16)), name
    # A block of SAM's encoder, on tokens, is a layer of DINOv2 with its layer scale folded in.
    tokens = torch.randn(1, 24, 24, 384, generator=torch.Generator().manual_seed(0))
    ours = build_image_encoder(RENDER_ENCODER).blocks[0].eval()
    prefix = f"{RENDER_ENCODER_PREFIX}blocks.0."
    made = render_encoder_tensors(tower)
    state = {n.removeprefix(prefix): torch.from_numpy(v.copy()) for n, v in made.items() if n.startswith(prefix)}
    ours.load_state_dict(state)
    theirs = Dinov2Model.from_pretrained(nano_folder / "vision_tower").encoder.layer[0].eval()
    with torch.no_grad():
        expected = theirs(tokens.flatten(1, 2))
        expected = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(ours(tokens).flatten(1, 2), expected, atol=1e-4, rtol=1e-4)


def test_grouped_rotary_rows_are_put_back(language: GgufLanguageModel) -> None:
    # GGUF's own order, made from ours by its writer's rule, must give the stored rows.
    ours = language.tensor("model.layers.0.self_attn.k_proj.weight")
    theirs = ours.reshape(3, 2, 32, 576).swapaxes(1, 2).reshape(192, 576)
    stored = next(t for t in language._reader.tensors if t.name == "blk.0.attn_k.weight")
    assert np.array_equal(theirs, language._dequantise(stored.data, stored.tensor_type))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Ask 12 it's<|im_end|>\n", ["Ask", "Ġ", "1", "2", "Ġit", "'s", "<|im_end|>", "Ċ"]),
        ("region is [SEG].", ["region", "Ġis", "Ġ", "[SEG]", "."]),
    ],
)
def test_tokenizer_splits_like_smollm2(nano_folder: Path, text: str, pieces: list[str]) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(nano_folder / "tokenizer.json"))
    encoded = tokenizer.encode(text)
    assert encoded.tokens == pieces
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == text


def test_shipped_weights_must_be_those_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).write_bytes(b"other")
    with pytest.raises(CheckpointError, match="missing or damaged"):
        shipped_weights(NanoManifest.read(), tmp_path)


def test_shipped_tensor_without_use_is_refused(language: GgufLanguageModel) -> None:
    manifest = NanoManifest.read()
    shipped = shipped_weights(manifest, ASSETS)
    tensors = NanoTensors(manifest=manifest, language=language, renders={}, shipped=shipped)
    with pytest.raises(CheckpointError, match="without use"):
        tensors.check({"model.norm.weight": (576,)})


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no such format at all"])
def test_broken_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a readable GGUF file"):
        GgufLanguageModel(tmp_path / "model.gguf")
