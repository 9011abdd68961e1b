"""The parity data: `tests/golden/data`, or another folder of the same layout named by INTERACTVLM_GOLDEN."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interactvlm.mvloc.surfaces import OfficialBody


@pytest.fixture(scope="session")
def golden() -> Path:
    folder = Path(os.environ.get("INTERACTVLM_GOLDEN") or Path(__file__).parent / "data")
    assert (folder / "render" / "cameras.npz").exists(), f"{folder} holds no parity data"
    return folder


@pytest.fixture(scope="session")
def only(golden: Path) -> Callable[[str], Path]:
    """The one file of a pattern: names carry resolutions ("_128"), which another folder may have others of."""

    def find(pattern: str) -> Path:
        found = sorted(golden.glob(pattern))
        assert len(found) == 1, f"{pattern} names {[path.name for path in found]}"
        return found[0]

    return find


@pytest.fixture(scope="session")
def release(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Whole checkpoint folders by name: "contact", "joint", "oafford".

    Two of the three come without `model.visual_model.*`, which are the first one's: put together here, by links.
    """
    contact = golden / "contact_release"
    folders = {"contact": contact}
    shared = {key: shard for key, shard in _weight_map(contact).items() if key.startswith("model.visual_model.")}
    for name in ("joint", "oafford"):
        source = golden / f"{name}_release"
        merged = tmp_path_factory.mktemp(f"{name}_release")
        own = _weight_map(source)
        for path in source.iterdir():
            if path.name not in {*own.values(), "model.safetensors.index.json"}:
                (merged / path.name).symlink_to(path.resolve())
        weight_map = {}
        for folder, tensors in ((contact, shared), (source, own)):
            for key, shard in tensors.items():
                weight_map[key] = f"{folder.name}-{shard}"
                if not (merged / weight_map[key]).exists():
                    (merged / weight_map[key]).symlink_to((folder / shard).resolve())
        (merged / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        folders[name] = merged
    return folders


def _weight_map(folder: Path) -> dict[str, str]:
    """Tensor name -> file, of a folder with shards and an index or with one file."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    if index.exists():
        found: dict[str, str] = json.loads(index.read_text())["weight_map"]
        return found
    with safe_open(folder / "model.safetensors", framework="numpy") as shard:
        return dict.fromkeys(shard.keys(), "model.safetensors")


@pytest.fixture(scope="session")
def official_body(golden: Path, only: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> OfficialBody:
    """The recorded body as a user's folder: the maps are enlarged to the renders' size, as the runs used them."""
    folder = tmp_path_factory.mktemp("body")
    for path in (golden / "body").glob("body_render_norm_*.png"):
        (folder / path.name).symlink_to(path.resolve())
        with Image.open(path) as render:
            side = render.width
    for kind in ("pixel_to_vertex_map", "bary_coords_map"):
        stored = np.load(only(f"body/{kind}_*.npz"))
        times = {name: side // len(stored[name]) for name in stored.files}
        large = {name: stored[name].repeat(n, axis=0).repeat(n, axis=1) for name, n in times.items()}
        np.savez(folder / f"{kind}_1024.npz", **large)
    return OfficialBody(folder, vertex_count=len(np.load(golden / "body" / "mesh.npz")["vertices"]))


@pytest.fixture(scope="session")
def samples(golden: Path) -> dict[str, list[tuple[dict[str, Any], dict[str, np.ndarray]]]]:
    """(sample description, recorded arrays) of every sample, by release name."""
    found: dict[str, list[tuple[dict[str, Any], dict[str, np.ndarray]]]] = {}
    for name in ("contact", "joint", "oafford"):
        folder = golden / f"{name}_expected"
        described = json.loads((folder / "samples.json").read_text())
        found[name] = [(entry, dict(np.load(folder / entry["file"]))) for entry in described]
    return found
