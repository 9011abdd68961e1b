from __future__ import annotations

from pathlib import Path

import pytest

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.layout import infer_sam_sizes, official_layout
from interactvlm.checkpoints.reader import WeightReader


@pytest.mark.parametrize("name", ["contact", "joint", "oafford"])
def test_every_tensor_of_a_release_is_accounted_for(release: dict[str, Path], name: str) -> None:
    reader = WeightReader(release[name])
    shapes = {tensor: reader.shape(tensor) for tensor in reader.names()}
    layout = official_layout(ReleaseConfig.from_folder(release[name]), infer_sam_sizes(shapes))
    assert layout.missing(shapes) == []
    assert layout.left_over(shapes) == []
    assert layout.wrong_shapes(shapes) == {}
    unread = shapes.keys() - layout.required.keys()
    assert all(tensor.endswith("rotary_emb.inv_freq") for tensor in unread)


@pytest.mark.parametrize("name", ["contact", "joint", "oafford"])
def test_the_contact_tokens_are_those_of_the_tokenizer(release: dict[str, Path], name: str) -> None:
    import json

    added = json.loads((release[name] / "added_tokens.json").read_text())
    config = ReleaseConfig.from_folder(release[name])
    assert config.contact_token_ids
    assert {text: added[text] for text in config.contact_token_ids} == config.contact_token_ids
