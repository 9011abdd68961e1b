"""Renders and ground-truth masks as files, for whoever trains with them or looks at them.

- Masks and heat: one PNG a contact, the J = 4 views side by side, uint8: 255 outside the rendered outline, else
  254 x (contact or heat).
- Renders: the views as PNG and, for every pixel, the vertices behind it: the community's files, for a body the
  folder that `OfficialBody` reads.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.errors import InputError
from interactvlm.geometry.cameras import HUMAN_VIEWS, OBJECT_VIEWS
from interactvlm.mvloc.surfaces import SurfaceKind, SurfaceViews
from interactvlm.results.community import npz_bytes
from interactvlm.training.losses import IGNORE
from interactvlm.training.targets import MaskTargets

__all__ = ["OUTSIDE", "mask_png", "read_mask", "write_renders"]

OUTSIDE = 255
"""A mask's pixels outside the rendered outline."""
_FULL = 254
_MAX_SIDE = 4096


def mask_png(targets: MaskTargets, values: NDArray[np.floating], *, corners: int) -> bytes:
    """The ground truth of one contact (0 and 1) or heat, PNG of [S, J S].

    Args:
        targets: of the surface.
        values: [V] in [0, 1].
        corners: vertices of a pixel's triangle that must be in contact: 2, or 3 as older checkpoints.

    Raises:
        InputError: the values are not of this surface.
    """
    target = targets(values, corners=corners).numpy()
    pixels = np.where(target == IGNORE, OUTSIDE, np.rint(target * _FULL)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.concatenate(list(pixels), axis=1)).save(out, "PNG")
    return out.getvalue()


def read_mask(path: Path) -> NDArray[np.float32]:
    """A mask as training takes it: float32 [J, S, S] in [0, 1], IGNORE (-1) outside the outline.

    Raises:
        InputError: the file is no such PNG.
    """
    views = len(HUMAN_VIEWS)
    try:
        with Image.open(path, formats=["PNG"]) as image:
            width, height = image.size
            if image.mode != "L" or width != views * height or height > _MAX_SIDE:
                raise InputError(str(path), f"is {image.mode} of {width} x {height}; masks are grey, {views} x 1")
            pixels = np.asarray(image)
    except FileNotFoundError:
        raise InputError(str(path), "does not exist") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(str(path), f"is not a readable PNG ({error})") from None
    tiles = np.stack(np.split(pixels, views, axis=1)).astype(np.float32)
    return np.where(tiles == OUTSIDE, np.float32(IGNORE), tiles / np.float32(_FULL))


def write_renders(views: SurfaceViews, folder: Path) -> None:
    """The renders of one surface and their pixel maps, into a new folder.

    Body: `body_render_norm_{view}.png`; objects: `render_{view}.png`. Meshes: `pixel_to_vertex_map_1024.npz` and
    `bary_coords_map_1024.npz` (the name says 1024 whatever the size, which readers expect); points:
    `pixel_to_point_map.npz`, int32 [H, W] a view.
    """
    folder.mkdir(parents=True)
    on_body = views.kind is SurfaceKind.BODY
    names = [view.name for view in (HUMAN_VIEWS if on_body else OBJECT_VIEWS)]
    for name, image in zip(names, views.images, strict=True):
        Image.fromarray(image).save(folder / f"{'body_render_norm' if on_body else 'render'}_{name}.png")
    ids = views.ids.astype(np.int32)
    arrays = {"pixel_to_vertex_map_1024": ids, "bary_coords_map_1024": views.weights.astype(np.float32)}
    if views.kind is SurfaceKind.OBJECT_POINTS:
        arrays = {"pixel_to_point_map": ids[..., 0]}
    for stem, maps in arrays.items():
        (folder / f"{stem}.npz").write_bytes(npz_bytes(dict(zip(names, maps, strict=True))))
