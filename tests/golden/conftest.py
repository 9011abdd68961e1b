"""The parity data: `tests/golden/data`, or another folder of the same layout named by INTERACTVLM_GOLDEN."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def golden() -> Path:
    folder = Path(os.environ.get("INTERACTVLM_GOLDEN") or Path(__file__).parent / "data")
    assert (folder / "render" / "cameras.npz").exists(), f"{folder} holds no parity data"
    return folder


@pytest.fixture(scope="session")
def release(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Whole checkpoint folders by name: "contact", "joint", "oafford".

    Two of the three come without `model.visual_model.*`, which are the first one's: put together here, by links.
    """
    folders = {"contact": golden / "contact_release"}
    contact_index = json.loads((folders["contact"] / "model.safetensors.index.json").read_text())["weight_map"]
    for name in ("joint", "oafford"):
        source = golden / f"{name}_release"
        merged = tmp_path_factory.mktemp(f"{name}_release")
        for path in source.iterdir():
            (merged / path.name).symlink_to(path.resolve())
        own = merged / "model.safetensors"
        own.rename(merged / "own.safetensors")
        weight_map = dict.fromkeys(_names(merged / "own.safetensors"), "own.safetensors")
        for key, shard in contact_index.items():
            if key.startswith("model.visual_model."):
                weight_map[key] = shard
                if not (merged / shard).exists():
                    (merged / shard).symlink_to((folders["contact"] / shard).resolve())
        (merged / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        folders[name] = merged
    return folders


def _names(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as shard:
        return list(shard.keys())


@pytest.fixture(scope="session")
def samples(golden: Path) -> dict[str, list[tuple[dict[str, Any], dict[str, np.ndarray]]]]:
    """(sample description, recorded arrays) of every sample, by release name."""
    found: dict[str, list[tuple[dict[str, Any], dict[str, np.ndarray]]]] = {}
    for name in ("contact", "joint", "oafford"):
        folder = golden / f"{name}_expected"
        described = json.loads((folder / "samples.json").read_text())
        found[name] = [(entry, dict(np.load(folder / entry["file"]))) for entry in described]
    return found
