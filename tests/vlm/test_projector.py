from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.layout import official_layout
from interactvlm.vlm.network import official_parameters
from interactvlm.vlm.projector import BlockProjector, image_projector, spread_out

CONFIG = ReleaseConfig(
    hidden_size=12,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    vocab_size=20,
    mm_hidden_size=32,
    img_emb_len=15,
    vision_merge=2,
    mm_projector_blocks=2,
)


@pytest.fixture
def projector() -> BlockProjector:
    torch.manual_seed(0)
    made = image_projector(CONFIG)
    assert isinstance(made, BlockProjector)
    return made


def test_the_release_has_one_linear_layer() -> None:
    assert isinstance(image_projector(replace(CONFIG, mm_projector_blocks=0)), nn.Linear)


@pytest.mark.parametrize("blocks", [0, 2])
def test_names_and_shapes_are_those_of_the_layout(blocks: int) -> None:
    config = replace(CONFIG, mm_projector_blocks=blocks)
    ours = {n: s for n, s in official_parameters(config).items() if ".mm_projector." in n}
    listed = {n: s for n, s in official_layout(config).required.items() if ".mm_projector." in n}
    assert ours == listed


def test_averages_lie_row_by_row_of_the_photo(projector: BlockProjector) -> None:
    # 4 x 4 image tokens of 2 x 2 averages: an 8 x 8 grid, each average holding its own place.
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    grid = torch.stack((rows, columns), dim=-1)  # [8, 8, 2]
    tokens = grid.reshape(4, 2, 4, 2, 2).permute(0, 2, 1, 3, 4).reshape(1, 16, 8)
    assert torch.equal(spread_out(tokens, 2)[0], grid.reshape(64, 2))
    assert torch.equal(projector.merged(spread_out(tokens, 2)), tokens)


def test_blocks_change_nothing_at_the_beginning_and_then_see_the_whole_photo(projector: BlockProjector) -> None:
    weight, bias = torch.randn(12, 32), torch.randn(12)
    projector.begin(weight, bias)
    features = torch.randn(2, 16, 32)
    assert torch.allclose(projector(features), features @ weight.T + bias, atol=1e-5)
    for name, parameter in projector.blocks.named_parameters():
        if "proj" in name or "fc2" in name:
            nn.init.normal_(parameter, std=0.1)
    changed = features.clone()
    changed[0, 0] = torch.randn(32)
    difference = (projector(changed) - projector(features)).abs().amax(-1)
    assert (difference[0] > 1e-6).all()  # every image token of that photo
    assert (difference[1] == 0).all()  # and none of the other's
