from __future__ import annotations

import pytest
import torch

from interactvlm.checkpoints.lora import has_lora, merge_lora
from interactvlm.errors import CheckpointError

MODULE = "base_model.model.model.layers.0.self_attn.q_proj"


def _state(*, base: str = ".weight", dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        MODULE + base: torch.randn(12, 10, generator=generator).to(dtype),
        MODULE + ".lora_A.default.weight": torch.randn(8, 10, generator=generator).to(dtype),
        MODULE + ".lora_B.default.weight": torch.randn(12, 8, generator=generator).to(dtype),
        "base_model.model.lm_head.weight": torch.ones(3, 2, dtype=dtype),
    }


@pytest.mark.parametrize("base", [".weight", ".base_layer.weight"])
def test_update_is_added_with_alpha_over_rank(base: str) -> None:
    state = _state(base=base)
    merged = merge_lora(state, alpha=16)
    a, b = state[MODULE + ".lora_A.default.weight"], state[MODULE + ".lora_B.default.weight"]
    assert sorted(merged) == ["lm_head.weight", "model.layers.0.self_attn.q_proj.weight"]
    torch.testing.assert_close(merged["model.layers.0.self_attn.q_proj.weight"], state[MODULE + base] + 2.0 * b @ a)
    assert merged["lm_head.weight"] is state["base_model.model.lm_head.weight"]


def test_merged_layer_equals_the_adapted_layer_of_peft() -> None:
    from interactvlm.torchvision_cpu import prepare_torchvision

    prepare_torchvision()
    from peft import LoraConfig, get_peft_model

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj = torch.nn.Linear(10, 12, bias=False)
            self.o_proj = torch.nn.Linear(12, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.o_proj(self.q_proj(x))

    torch.manual_seed(0)
    wrapped = get_peft_model(Net(), LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj"], init_lora_weights=False))
    merged = merge_lora(wrapped.state_dict(), alpha=16)
    plain = Net()
    plain.load_state_dict(merged)
    x = torch.randn(5, 10)
    torch.testing.assert_close(plain(x), wrapped.eval()(x))


def test_dtype_of_the_weight_is_kept() -> None:
    merged = merge_lora(_state(dtype=torch.bfloat16), alpha=16)
    assert {tensor.dtype for tensor in merged.values()} == {torch.bfloat16}


def test_fully_trained_copy_replaces_the_original() -> None:
    state = {
        "base_model.model.model.embed_tokens.original_module.weight": torch.zeros(2, 2),
        "base_model.model.model.embed_tokens.modules_to_save.default.weight": torch.ones(2, 2),
    }
    assert merge_lora(state, alpha=16)["model.embed_tokens.weight"].sum() == 4


def test_plain_weights_pass_unchanged() -> None:
    state = {"model.norm.weight": torch.ones(3)}
    assert not has_lora(state)
    assert merge_lora(state, alpha=16) == state
    assert has_lora(_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(MODULE + ".lora_B.default.weight"), "half a LoRA update"),
        (lambda s: s.pop(MODULE + ".weight"), "not the weight"),
        (lambda s: s.update({MODULE + ".lora_A.default.weight": torch.zeros(8, 11)}), "has shapes"),
        (lambda s: s.update({MODULE + ".lora_A.default.weight": torch.zeros(4, 10)}), "has shapes"),
        (lambda s: s.update({MODULE + ".base_layer.weight": torch.zeros(12, 10)}), "two tensors"),
    ],
)
def test_broken_checkpoints_are_refused(change, message: str) -> None:
    state = _state()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        merge_lora(state, alpha=16)
