"""Pictures of a coloured surface from given views, for people.

The method's own renders (fixed lights, white background) are what the model sees; here a lamp at the camera lights
every side alike, so that contact is as easily seen from below as from above.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from interactvlm.geometry.cameras import Cameras, View, look_at
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.geometry.rasterizer import rasterize

__all__ = ["FRONT_AND_BACK", "draw_views"]

#: Level views of the body, far enough that all of it fits.
FRONT_AND_BACK = (View("front", 3.2, 0.0, 0.0), View("back", 3.2, 0.0, 180.0))

_AMBIENT = 0.42
_MAX_POINTS = 20_000


def draw_views(
    surface: Mesh | PointCloud, colours: NDArray[np.uint8], views: Sequence[View], *, side: int
) -> list[Image.Image]:
    """One picture a view, cut to what is seen, transparent around it; its edges are smooth once it is shrunk.

    Args:
        surface: placed as the views expect it (they look at the origin).
        colours: sRGB uint8 [V, 3].
        views: J views.
        side: pixels of the square that is drawn before cutting; about thrice what is shown.

    Returns:
        J RGBA images, none larger than side x side; 1x1 and transparent where nothing is seen.
    """
    cameras = look_at(views)
    if isinstance(surface, Mesh):
        pictures = _draw_mesh(surface, colours, cameras, side)
    else:
        pictures = _draw_points(surface, colours, cameras, side)
    return [picture.crop(picture.getbbox() or (0, 0, 1, 1)) for picture in pictures]


def _draw_mesh(mesh: Mesh, colours: NDArray[np.uint8], cameras: Cameras, side: int) -> list[Image.Image]:
    fragments = rasterize(mesh, cameras, side)
    pictures = []
    for j in range(len(cameras)):
        # Lit per vertex; either winding is lit, for a user's mesh may be inside out.
        facing = np.abs(mesh.vertex_normals @ cameras.R[j][:, 2:])
        lit = (colours * (_AMBIENT + (1 - _AMBIENT) * facing)).astype(np.float32)
        seen = fragments.face_ids[j] >= 0
        corners = mesh.faces[fragments.face_ids[j][seen]]
        weights = fragments.barycentric[j][seen]
        pixels = np.zeros((side, side, 4), dtype=np.uint8)
        pixels[seen, :3] = np.clip(np.einsum("nk,nkc->nc", weights, lit[corners]), 0, 255)
        pixels[seen, 3] = 255
        pictures.append(Image.fromarray(pixels))
    return pictures


def _draw_points(cloud: PointCloud, colours: NDArray[np.uint8], cameras: Cameras, side: int) -> list[Image.Image]:
    step = -(-len(cloud.xyz) // _MAX_POINTS)
    xyz, colours = cloud.xyz[::step], colours[::step]
    screen = cameras.world_to_screen(xyz, (side, side))
    depth = cameras.world_to_view(xyz)[..., 2]
    # Discs that about close the surface: radius from the mean area a point stands for.
    radius = max(2.0, 0.6 * side / np.sqrt(len(xyz)))
    pictures = []
    for j in range(len(cameras)):
        picture = Image.new("RGBA", (side, side))
        draw = ImageDraw.Draw(picture)
        span = max(float(np.ptp(depth[j])), 1e-6)
        shade = 1.0 - 0.35 * (depth[j] - depth[j].min()) / span  # the far side darker: depth without normals
        for i in np.argsort(-depth[j]):
            red, green, blue = (int(value * shade[i]) for value in colours[i])
            draw.circle((screen[j, i, 0], screen[j, i, 1]), radius, fill=(red, green, blue, 255))
        pictures.append(picture)
    return pictures
