"""The renders that the image encoder sees, with the maps that lead back from their pixels to the surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.cameras import HUMAN_VIEWS, OBJECT_DISTANCE_RENDERED, OBJECT_VIEWS, View, at_distance, look_at
from interactvlm.geometry.colours import nocs_colours, normal_colours, to_uint8
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.geometry.pixel_maps import PixelMaps, pixel_maps, valid_pixels
from interactvlm.geometry.point_render import render_points
from interactvlm.geometry.rasterizer import rasterize
from interactvlm.geometry.shading import shade

__all__ = ["RENDER_SIZE", "RenderedViews", "render_body_views", "render_object_points", "render_object_views"]

#: Side of the square renders, pixels.
RENDER_SIZE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RenderedViews:
    """J = 4 renders of one surface, in the order of its view set.

    Attributes:
        images: RGB uint8 [J, H, W, 3], white background.
        valid: bool [J, H, W], pixels inside the outline.
        maps: the vertices seen by each pixel, of a mesh; None for points.
        point_ids: the point seen by each pixel, int32 [J, H, W], -1 background, of a point cloud; None for a mesh.
    """

    images: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    maps: PixelMaps | None = None
    point_ids: NDArray[np.int32] | None = None


def render_body_views(mesh: Mesh, image_size: int = RENDER_SIZE) -> RenderedViews:
    """The body in HUMAN_VIEWS, painted with its normals.

    Args:
        mesh: the body in the canonical pose, +y up, +z to the front, around the origin, metres.
        image_size: side of the renders, pixels.
    """
    return _render_mesh(mesh, normal_colours(mesh), HUMAN_VIEWS, image_size)


def render_object_views(
    mesh: Mesh, image_size: int = RENDER_SIZE, *, distance: float = OBJECT_DISTANCE_RENDERED
) -> RenderedViews:
    """An object mesh in OBJECT_VIEWS, painted with its NOCS coordinates.

    Args:
        mesh: the object, `centred()`.
        image_size: side of the renders, pixels.
        distance: of the cameras; the release renders meshes at 1.5 whatever distance conditions Phi.
    """
    return _render_mesh(mesh, nocs_colours(mesh.vertices), at_distance(OBJECT_VIEWS, distance), image_size)


def render_object_points(points: PointCloud, image_size: int = RENDER_SIZE) -> RenderedViews:
    """An object's point cloud in OBJECT_VIEWS at distance 2, painted with its NOCS coordinates.

    Args:
        points: the object, `centred()`.
        image_size: side of the renders, pixels.
    """
    rendered = render_points(points, nocs_colours(points.xyz), look_at(OBJECT_VIEWS), (image_size, image_size))
    images = to_uint8(rendered.images)
    return RenderedViews(images, valid_pixels(images), point_ids=rendered.point_ids)


def _render_mesh(mesh: Mesh, colours: NDArray[np.float32], views: tuple[View, ...], image_size: int) -> RenderedViews:
    cameras = look_at(views)
    fragments = rasterize(mesh, cameras, image_size)
    images = to_uint8(shade(mesh, colours, fragments, cameras, [view.light for view in views]))
    return RenderedViews(images, valid_pixels(images), maps=pixel_maps(mesh, fragments))
