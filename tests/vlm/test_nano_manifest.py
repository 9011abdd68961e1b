from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interactvlm.errors import CheckpointError
from interactvlm.vlm.nano import NANO_NOTICE
from interactvlm.vlm.nano.manifest import MANIFEST_FILE, NanoManifest, NanoPart, format_only_parts

MANIFEST = NanoManifest(
    trained=False, notice=NANO_NOTICE, weights_sha256="0" * 64, lora_alpha=16, seed=7, parts=format_only_parts()
)


def test_written_and_read_back(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    assert NanoManifest.read(tmp_path) == MANIFEST


def test_shipped_manifest_says_untrained() -> None:
    shipped = NanoManifest.read()
    assert not shipped.trained
    assert shipped.notice == NANO_NOTICE
    assert NANO_NOTICE.startswith("untrained")
    states = {name: part.state for name, part in shipped.parts.items()}
    assert states.pop("language_model") == states.pop("projector") == "answer format only"
    assert states.pop("image_encoder") == "pretrained on photographs"
    assert set(states.values()) == {"initialised, untrained"}


def test_untrained_without_a_notice_is_refused(tmp_path: Path) -> None:
    replace(MANIFEST, notice="").write(tmp_path)
    with pytest.raises(CheckpointError, match="no notice"):
        NanoManifest.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "not of format 1"),
        ({"parts": {"x": {"prefixes": ["a."], "source": "thin air", "state": ""}}}, "thin air"),
        ({"parts": {"x": {"prefixes": ["a."]}}}, "malformed"),
        ({"parts": []}, "malformed"),
        ({"surprise": 1}, "malformed"),
    ],
)
def test_malformed_manifest(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    MANIFEST.write(tmp_path)
    path = tmp_path / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        NanoManifest.read(tmp_path)


def test_every_tensor_has_exactly_one_part() -> None:
    assert MANIFEST.part_of("model.mm_projector.bias").source == "weights"
    with pytest.raises(CheckpointError, match="in 0 parts"):
        MANIFEST.part_of("lm_head.weight")
    twice = replace(MANIFEST, parts={**MANIFEST.parts, "again": NanoPart(("model.mm_",), "seed", "")})
    with pytest.raises(CheckpointError, match="in 2 parts"):
        twice.part_of("model.mm_projector.bias")
