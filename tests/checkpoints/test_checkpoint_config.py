from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CheckpointError

GOOD: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 603,
    "seg_token_idx": 600,
    "token_type": "Gen",
}
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines may be busy
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def from_dict(**changes: Any) -> ReleaseConfig:
    return ReleaseConfig.from_dict(GOOD | changes, source="config.json")


def test_official_config_is_read(contact_release: Path) -> None:
    config = ReleaseConfig.from_folder(contact_release)
    assert config.contact_token_ids == {"[SEG]": 600}
    assert (config.has_human_head, config.has_object_head, config.has_splitter) == (True, False, False)
    assert config.image_tokens == 256


def test_null_means_default_and_integers_serve_as_floats() -> None:
    config = from_dict(hseg_token_idx=None, num_key_value_heads=None, hC_loss_weight=3)
    assert config.hseg_token_idx is None
    assert config.num_key_value_heads == 4
    assert config.hC_loss_weight == 3.0
    assert isinstance(config.hC_loss_weight, float)


def test_token_types() -> None:
    joint = from_dict(token_type="Gen-Hu-Obj-DifDe", hseg_token_idx=601, oseg_token_idx=602)
    assert joint.base_token_type == "Gen-Hu-Obj"
    assert joint.separate_decoders
    assert joint.has_splitter
    assert joint.contact_token_ids == {"[SEG]": 600, "[HSEG]": 601, "[OSEG]": 602}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seg_token_idx": 603}, "seg_token_idx is 603, outside the vocabulary of 603"),
        ({"hseg_token_idx": -1}, "hseg_token_idx is -1"),
        ({"hidden_size": True}, "hidden_size must be an integer"),
        ({"hidden_size": "64"}, "hidden_size must be an integer"),
        ({"hidden_size": 66}, "4 attention heads do not divide"),
        ({"num_key_value_heads": 3}, "does not divide num_attention_heads"),
        ({"num_hidden_layers": 0}, "outside 1 to"),
        ({"vocab_size": 10**30}, "outside 1 to"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({"token_type": "Seg"}, "token_type is 'Seg'"),
        ({"cam_encoder_type": "vi_v9"}, "known: vi_v1, simple, view_index"),
        ({"multiview_channels": 3}, "known: 1, 4"),
        ({"tokenizer": "pickle"}, "known: sentencepiece, json"),
        ({"vision_tower_dir": "../../etc"}, "outside the checkpoint"),
        ({"vision_tower_dir": "/etc"}, "outside the checkpoint"),
        ({"trained": 1}, "must be true or false"),
    ],
)
def test_bad_values_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=r"^config\.json: ") as caught:
        from_dict(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(CheckpointError, match="lacks the key vocab_size"):
        ReleaseConfig.from_dict({k: v for k, v in GOOD.items() if k != "vocab_size"}, source="config.json")


def test_missing_file_points_to_doctor(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json; see `interactvlm doctor`"):
        ReleaseConfig.from_folder(tmp_path)


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"vocab_size": 1, "vocab_size": 2}')
    with pytest.raises(CheckpointError, match="'vocab_size' twice"):
        ReleaseConfig.from_folder(tmp_path)


def test_other_things_in_its_place(tmp_path: Path, edit_json: Callable[..., None]) -> None:
    path = tmp_path / "config.json"
    for content, said in [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"vocab_size": ' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b"[]", "must hold one JSON object"),
    ]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=said):
            ReleaseConfig.from_folder(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="not a regular file"):
        ReleaseConfig.from_folder(tmp_path)


@unhurried
@given(
    changes=st.dictionaries(
        st.sampled_from([*GOOD, "rope_theta", "hC_loss_weight", "trained", "vision_tower_dir", "num_key_value_heads"]),
        json_values,
        max_size=4,
    )
)
def test_any_value_loads_or_is_refused(changes: dict[str, Any]) -> None:
    try:
        config = from_dict(**changes)
    except CheckpointError:
        return
    assert all(0 <= index < config.vocab_size for index in config.contact_token_ids.values())
    assert config.head_dim * config.num_attention_heads == config.hidden_size


@unhurried
@given(content=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_load_or_are_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError):
        ReleaseConfig.from_folder(folder)
