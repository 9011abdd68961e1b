from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.layout import SAM_VIT_H, infer_sam_sizes, official_layout
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError

LLAMA = {
    "7B": ReleaseConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        vocab_size=32003,
        multiview_channels=4,
    ),
    "13B": ReleaseConfig(
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
        num_key_value_heads=40,
        vocab_size=32003,
    ),
}


@pytest.mark.parametrize(("name", "parameters"), [("7B", 7_401_708_976), ("13B", 13_689_913_776)])
def test_full_sizes(name: str, parameters: int) -> None:
    layout = official_layout(LLAMA[name])
    assert sum(math.prod(shape) for shape in layout.required.values()) == parameters
    encoder = sum(math.prod(s) for n, s in layout.required.items() if ".image_encoder." in n)
    assert encoder == 637_026_048  # SAM ViT-H as published
    page = (Path(__file__).parents[2] / "docs" / "bring-your-weights.md").read_text()
    assert f"{name} ({len(layout.required)} tensors) | {parameters:,} | {2 * parameters / 1e9:.2f} GB" in page


def test_full_sizes_agree_with_transformers_and_segment_anything() -> None:
    from interactvlm.torchvision_cpu import prepare_torchvision

    prepare_torchvision()
    import torch
    from segment_anything.build_sam import sam_model_registry
    from transformers import LlamaConfig, LlamaForCausalLM

    for config in LLAMA.values():
        with torch.device("meta"):
            llama = LlamaForCausalLM(
                LlamaConfig(
                    hidden_size=config.hidden_size,
                    intermediate_size=config.intermediate_size,
                    num_hidden_layers=config.num_hidden_layers,
                    num_attention_heads=config.num_attention_heads,
                    vocab_size=config.vocab_size,
                )
            )
        required = official_layout(config).required
        for name, tensor in llama.state_dict().items():
            assert required.pop(name) == tuple(tensor.shape)
        rest = {name for name in required if not name.startswith("model.visual_model.")}
        assert {name.split(".")[-2] for name in rest} <= {"mm_projector", "0", "1", "2", "3"}
    with torch.device("meta"):
        sam = sam_model_registry["vit_h"]()
    ours = {n.removeprefix("model.visual_model."): s for n, s in required.items() if "visual_model" in n}
    assert ours == {name: tuple(tensor.shape) for name, tensor in sam.state_dict().items()}


@pytest.mark.parametrize("name", ["7B", "13B"])
def test_our_language_model_at_full_size_has_the_official_names(name: str) -> None:
    from interactvlm.vlm.network import official_parameters

    required = official_layout(LLAMA[name]).required
    rest = {n: s for n, s in required.items() if not n.startswith(("model.visual_model.", "cam_pose_encoder."))}
    assert official_parameters(LLAMA[name]) == rest


def test_other_token_types_and_encoders() -> None:
    base = LLAMA["7B"]
    plain = official_layout(base)
    joint = official_layout(replace(base, token_type="Gen-Hu-Obj", seg_token_idx=32000))
    assert {n.split(".")[0] for n in joint.required.keys() - plain.required.keys()} == {"attention_splitter"}
    separate = official_layout(replace(base, token_type="Gen-Hu-Obj-DifDe"))
    decoders = {n.split(".")[2] for n in separate.required if "mask_decoder" in n}
    assert decoders == {"human_mask_decoder", "object_mask_decoder"}
    assert any(n.startswith("model.visual_model.mask_decoder.") for n in separate.ignored)
    tied = official_layout(replace(base, tie_word_embeddings=True))
    assert plain.required.keys() - tied.required.keys() == {"lm_head.weight"}
    grouped = official_layout(replace(base, num_key_value_heads=8)).required
    assert grouped["model.layers.0.self_attn.k_proj.weight"] == (1024, 4096)
    unpublished = official_layout(replace(base, cam_encoder_type="simple"))
    assert unpublished.left_over([*unpublished.required, "cam_pose_encoder.any.weight", "other"]) == ["other"]
    one_view = official_layout(replace(base, multiview_channels=1))
    assert one_view.left_over([*one_view.required, "cam_pose_encoder.view_transforms.0.bias"]) == []
    no_camera = official_layout(replace(base, multiview_cam_cond=False))
    assert not any(n.startswith("cam_pose_encoder") for n in no_camera.required)


def test_sam_sizes_are_read_off_the_shapes(contact_release: Path) -> None:
    full = official_layout(LLAMA["7B"]).required
    assert infer_sam_sizes(full) == SAM_VIT_H
    reader = WeightReader(contact_release)
    found = infer_sam_sizes({name: reader.shape(name) for name in reader.names()})
    assert found.grid == 64
    with pytest.raises(CheckpointError, match="SAM's image encoder"):
        infer_sam_sizes({"model.visual_model.image_encoder.pos_embed": (1, 64, 64, 32)})
