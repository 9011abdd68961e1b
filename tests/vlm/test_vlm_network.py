from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CheckpointError
from interactvlm.torchvision_cpu import prepare_torchvision
from interactvlm.vlm.llama import KeyValueCache
from interactvlm.vlm.network import ContactNetwork, official_parameters

prepare_torchvision()

CONFIG = ReleaseConfig(
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=2,
    vocab_size=50,
    rope_theta=5000.0,
    mm_hidden_size=12,
)
FULL = {
    "7B": ReleaseConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        vocab_size=32003,
    ),
    "13B": ReleaseConfig(
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
        num_key_value_heads=40,
        vocab_size=32005,
    ),
}


def _network(config: ReleaseConfig) -> ContactNetwork:
    torch.manual_seed(3)
    return ContactNetwork(config).eval().requires_grad_(False)


@pytest.mark.parametrize("size", FULL)
def test_full_dimensions_name_every_official_tensor(size: str) -> None:
    config = FULL[size]
    h, ffn, v = config.hidden_size, config.intermediate_size, config.vocab_size
    expected: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (v, h),
        "model.norm.weight": (h,),
        "lm_head.weight": (v, h),
        "model.mm_projector.weight": (h, 1024),
        "model.mm_projector.bias": (h,),
        "model.text_hidden_fcs.0.0.weight": (h, h),
        "model.text_hidden_fcs.0.0.bias": (h,),
        "model.text_hidden_fcs.0.2.weight": (256, h),
        "model.text_hidden_fcs.0.2.bias": (256,),
    }
    for i in range(config.num_hidden_layers):
        layer = f"model.layers.{i}"
        expected |= {f"{layer}.self_attn.{p}_proj.weight": (h, h) for p in "qkvo"}
        expected |= {f"{layer}.mlp.{p}_proj.weight": (ffn, h) for p in ("gate", "up")}
        expected[f"{layer}.mlp.down_proj.weight"] = (h, ffn)
        expected |= {f"{layer}.{n}.weight": (h,) for n in ("input_layernorm", "post_attention_layernorm")}
    assert official_parameters(config) == expected


def test_states_equal_those_of_transformers() -> None:
    from transformers import LlamaConfig, LlamaModel

    network = _network(CONFIG)
    reference = LlamaModel(
        LlamaConfig(
            hidden_size=48,
            intermediate_size=80,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            vocab_size=50,
            rms_norm_eps=CONFIG.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        )
    ).eval()
    own = {name: tensor for name, tensor in network.model.state_dict().items() if name in reference.state_dict()}
    reference.load_state_dict(own)
    ids = torch.randint(50, (3, 9))
    with torch.inference_mode():
        expected = reference(input_ids=ids).last_hidden_state
        torch.testing.assert_close(network.model(network.embed(ids)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("groups", [2, 6])
def test_cached_blocks_of_ragged_rows_equal_whole_sequences(groups: int) -> None:
    network = _network(replace(CONFIG, num_key_value_heads=groups))
    ids = torch.randint(50, (3, 12))
    embedded = network.embed(ids)
    whole = network.model(embedded)
    cache = KeyValueCache.allocate(network.config, rows=3, capacity=20, device=ids.device, dtype=torch.float32)
    # Rows of 4, 6 and 5 tokens in a padded first block; then ragged blocks from each row's own end.
    first = network.model(embedded[:, :6], starts=[0, 0, 0], cache=cache)
    starts = [4, 6, 5]
    second = network.model(
        torch.stack([embedded[r, s : s + 3] for r, s in enumerate(starts)]), starts=starts, cache=cache
    )
    third = network.model(
        torch.stack([embedded[r, s + 3 : s + 4] for r, s in enumerate(starts)]),
        starts=[s + 3 for s in starts],
        cache=cache,
    )
    for r, s in enumerate(starts):
        torch.testing.assert_close(first[r, :s], whole[r, :s], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(second[r], whole[r, s : s + 3], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(third[r, 0], whole[r, s + 3], atol=1e-5, rtol=1e-5)


def test_spread_and_drop() -> None:
    cache = KeyValueCache.allocate(CONFIG, rows=2, capacity=3, device=torch.device("cpu"), dtype=torch.float32)
    for i, held in enumerate((*cache.keys, *cache.values)):
        held.copy_(torch.arange(held.numel()).view_as(held) + 1000 * i)
    spread = cache.spread([1, 0, 1], length=2, capacity=5)
    assert spread.rows == 3
    assert spread.keys[1].shape == (3, 2, 5, 8)
    torch.testing.assert_close(spread.values[0][2, :, :2], cache.values[0][1, :, :2])
    # Never uninitialised memory: a masked NaN still poisons a sum.
    assert all(bool((held[:, :, 2:] == 0).all()) for held in (*spread.keys, *spread.values))
    spread.drop(0, last=1, length=2)
    torch.testing.assert_close(spread.keys[1][0, :, :2], cache.keys[1][0, :, :2])
    assert spread.narrow(1).rows == 1


def _save(folder: Path, network: ContactNetwork, **changes: torch.Tensor | None) -> None:
    tensors = {**network.state_dict(), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}
    tensors |= {name.replace("__", "."): value for name, value in changes.items() if value is not None}
    for name in [name.replace("__", ".") for name, value in changes.items() if value is None]:
        del tensors[name]
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


@pytest.mark.parametrize("tied", [False, True])
def test_loading_gives_the_saved_network(tmp_path: Path, tied: bool) -> None:
    config = replace(CONFIG, tie_word_embeddings=tied)
    network = _network(config)
    _save(tmp_path, network)
    loaded = ContactNetwork.from_folder(tmp_path, config, device="cpu", dtype=torch.float32)
    assert ("lm_head.weight" in loaded.state_dict()) is not tied
    states = torch.randn(2, 48)
    torch.testing.assert_close(loaded.logits(states), network.logits(states))
    torch.testing.assert_close(loaded.contact_embedding(states), network.contact_embedding(states))
    assert not any(parameter.is_meta or parameter.requires_grad for parameter in loaded.parameters())


def test_missing_and_misshapen_tensors(tmp_path: Path) -> None:
    network = _network(CONFIG)
    _save(tmp_path, network, model__norm__weight=None)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight"):
        ContactNetwork.from_folder(tmp_path, CONFIG, device="cpu", dtype=torch.float32)
    _save(tmp_path, network, model__norm__weight=torch.ones(7))
    with pytest.raises(CheckpointError, match=r"has shape \(7,\), expected \(48,\)"):
        ContactNetwork.from_folder(tmp_path, CONFIG, device="cpu", dtype=torch.float32)
