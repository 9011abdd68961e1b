from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.vlm.nano.initialise import initial_tensor


def test_values_are_the_same_everywhere() -> None:
    values = initial_tensor("model.text_hidden_fcs.0.2.weight", (256, 576), seed=20260)
    assert (
        hashlib.sha256(values.tobytes()).hexdigest()
        == "80cfaaa94a02d3c5e488ff8762cd06bbb437c138d0df285fc6b8c299dd3ac6c8"
    )


def test_name_and_seed_decide() -> None:
    first = initial_tensor("a.weight", (4, 4), seed=1)
    assert np.array_equal(first, initial_tensor("a.weight", (4, 4), seed=1))
    assert not np.array_equal(first, initial_tensor("b.weight", (4, 4), seed=1))
    assert not np.array_equal(first, initial_tensor("a.weight", (4, 4), seed=2))


@pytest.mark.parametrize(
    ("name", "shape", "deviation"),
    [
        ("block.mlp.lin1.weight", (768, 192), 192**-0.5),
        ("neck.2.weight", (64, 64, 3, 3), (64 * 9) ** -0.5),
        ("mask_decoder.mask_tokens.weight", (4, 4096), 1.0),
        ("prompt_encoder.no_mask_embed.weight", (1, 4096), 1.0),
        ("prompt_encoder.point_embeddings.3.weight", (1, 4096), 1.0),
        ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", (2, 4096), 1.0),
        ("image_encoder.pos_embed", (1, 32, 32, 192), 0.02),
        ("blocks.0.attn.rel_pos_h", (63, 64), 0.02),
    ],
)
def test_spread(name: str, shape: tuple[int, ...], deviation: float) -> None:
    values = initial_tensor(name, shape, seed=3)
    assert values.shape == shape
    assert values.dtype == np.float32
    assert values.std() == pytest.approx(deviation, rel=0.05)
    assert abs(values.mean()) < 0.1 * deviation


@given(width=st.integers(1, 300), seed=st.integers(0, 2**63))
def test_biases_are_zero_and_norms_one(width: int, seed: int) -> None:
    assert not initial_tensor("norm1.bias", (width,), seed).any()
    assert (initial_tensor("norm1.weight", (width,), seed) == 1).all()
