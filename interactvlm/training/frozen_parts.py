"""The parts of a checkpoint that training reads and never changes: the vision tower, and the body with its renders."""

from __future__ import annotations

from pathlib import Path

import torch

from interactvlm.body.template import BodyTemplate, load_template
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.config import Settings
from interactvlm.errors import InputError
from interactvlm.loading import OpenedCheckpoint, load_body
from interactvlm.mvloc.model import BodySource
from interactvlm.training.config import TrainingConfig
from interactvlm.training.feature_cache import feature_key
from interactvlm.vlm.nano.packages import file_sha256
from interactvlm.vlm.vision import VisionTower

__all__ = ["open_body", "open_vision", "tower_identity", "tower_path"]


def tower_path(config: TrainingConfig, base: Path, release: ReleaseConfig) -> Path:
    """The vision tower's folder: the configuration's, or the one that belongs to the checkpoint; raises InputError."""
    from interactvlm.checkpoints.companions import find_vision_tower

    if config.model.vision_tower:
        return Path(config.model.vision_tower).expanduser()
    found = base / release.vision_tower_dir if release.vision_tower_dir else find_vision_tower(base)
    if found is None:
        raise InputError("model.vision_tower", "is not given, and no CLIP folder lies beside the checkpoint")
    return found


def tower_identity(tower: Path, release: ReleaseConfig) -> str:
    """What decides photo features: the tower's files and how its output is arranged."""
    files = sorted((*tower.glob("*.safetensors"), *tower.glob("*config.json")))
    arranged = f"{release.mm_vision_select_layer} {release.vision_pool} {release.vision_merge}"
    return feature_key(arranged, *(file_sha256(path) for path in files))


def open_vision(
    config: TrainingConfig, base: Path, release: ReleaseConfig, device: torch.device, dtype: torch.dtype
) -> VisionTower:
    """The vision tower, as the checkpoint uses it."""
    return VisionTower.from_folder(
        tower_path(config, base, release),
        select_layer=release.mm_vision_select_layer,
        pool=release.vision_pool,
        merge=release.vision_merge,
        device=device,
        dtype=dtype,
    )


def open_body(
    config: TrainingConfig, base: Path, release: ReleaseConfig, device: torch.device
) -> tuple[BodySource, BodyTemplate]:
    """What human contact lies on in the renders, and the template with its parts."""
    from interactvlm.checkpoints.companions import BODY_RENDER_FILES
    from interactvlm.mvloc.surfaces import OfficialBody

    if release.body_topology == "anny":
        template = load_template("anny")
        return template, template
    settings = Settings(model=str(base), body=config.model.body)
    opened = OpenedCheckpoint(settings, base, base.name, release, device, torch.float32)
    folder, template = load_body(opened)
    rendered = folder is not None and all((folder / name).is_file() for name in BODY_RENDER_FILES)
    return (OfficialBody(folder, template.vertex_count) if folder and rendered else template), template
