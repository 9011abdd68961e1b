"""Where the files lie that a published checkpoint needs beside it: the vision tower and the body.

::

    models/
      interactvlm-3d-hcontact-damon/      the checkpoint
      clip-vit-large-patch14/             or openai/clip-vit-large-patch14/
      body/                               SMPLH_NEUTRAL.npz or SMPL_NEUTRAL.npz, and renders where the user has them
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["BODY_FILES", "BODY_RENDER_FILES", "VISION_TOWER", "find_body_folder", "find_vision_tower"]

VISION_TOWER = "clip-vit-large-patch14"
#: Body model files, the preferred first.
BODY_FILES = ("SMPLH_NEUTRAL.npz", "SMPL_NEUTRAL.npz")
#: The release's own renders and maps of the body; all of them or none are used.
BODY_RENDER_FILES = (
    *(f"body_render_norm_{view}.png" for view in ("topfront", "bottomfront", "topback", "bottomback")),
    "pixel_to_vertex_map_1024.npz",
    "bary_coords_map_1024.npz",
)


def find_vision_tower(checkpoint: Path) -> Path | None:
    """The CLIP folder inside or beside a checkpoint, None when there is none.

    A folder of the published name is preferred; another `clip-vit-*` folder is taken when it is the only one.
    """
    beside = checkpoint.absolute().parent  # absolute: the parent of "." is elsewhere
    roots = (checkpoint, beside, beside / "openai")
    for root in roots:
        if (root / VISION_TOWER / "config.json").is_file():
            return root / VISION_TOWER
    others = [path for root in roots for path in root.glob("clip-vit-*") if (path / "config.json").is_file()]
    return others[0] if len(others) == 1 else None


def find_body_folder(checkpoint: Path) -> Path | None:
    """The folder with a body model inside or beside a checkpoint, None when there is none.

    The release's renders alone are not enough: nothing in them says where a vertex lies.
    """
    for folder in (checkpoint / "body", checkpoint.absolute().parent / "body"):
        if any((folder / name).is_file() for name in BODY_FILES):
            return folder
    return None
