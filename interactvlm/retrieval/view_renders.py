"""Pictures of catalogue objects for comparison with photographs: all around, neutral light, cropped to the object.

The light is nobody's in particular (soft, from above the camera), the ground is the mean colour of photographs, and
the crop is what `view_crops.square_patch` makes of a photograph: so that only the object differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import MeshError
from interactvlm.geometry.cameras import PixelCameras, View, look_at
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import Fragments, rasterize

__all__ = ["BACKGROUND", "CROP_MARGIN", "INDEX_VIEWS", "ViewPose", "photo_rotation", "render_object"]

CROP_MARGIN = 0.06
"""Free border around the object, share of the crop's side on each side."""
BACKGROUND = (124, 116, 104)
"""sRGB behind the object: the mean of photographs, which the encoder sees as 0."""

_DISTANCE = 4.0  # of the camera, in radii of the object
_SUPERSAMPLING = 2
_GREY = 160  # sRGB of meshes without colours
_AMBIENT, _SKY, _LAMP = 0.42, 0.16, 0.5
_TOWARDS_LAMP = np.array([-0.35, -0.65, -0.7]) / np.linalg.norm([-0.35, -0.65, -0.7])  # photo frame


@dataclass(frozen=True, slots=True)
class ViewPose:
    """Where a camera stands around an upright object.

    Attributes:
        azimuth: degrees from the object's front (+z) towards its +x.
        elevation: degrees above the horizon.
        roll: degrees by which the picture is turned clockwise.
    """

    azimuth: float
    elevation: float
    roll: float = 0.0


INDEX_VIEWS: tuple[ViewPose, ...] = tuple(
    [ViewPose(45.0 * k, 8.0) for k in range(8)] + [ViewPose(45.0 * k + 22.5, 35.0) for k in range(8)]
)
"""The views of every catalogue object: two rings of eight, the upper one between the lower one's."""


def photo_rotation(pose: ViewPose) -> NDArray[np.float32]:
    """Rotation of a view, object (+y up) to photo frame (x right, y down, z forward), for row vectors: `p @ rotation`.

    Returns:
        float32 [3, 3].
    """
    turned = _view_rotation(pose) * np.array([-1.0, -1.0, 1.0])
    return np.asarray(turned, np.float32)


def render_object(
    mesh: Mesh, poses: Sequence[ViewPose], side: int, *, background: tuple[int, int, int] = BACKGROUND
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Crops of one object, the object filling each but for the margin.

    Args:
        mesh: +y up, any unit.
        poses: J views.
        side: pixels of the square crops.
        background: sRGB behind it.

    Returns:
        RGB uint8 [J, side, side, 3], and the share of each pixel that the object covers, float32 [J, side, side].

    Raises:
        MeshError: all vertices coincide.
    """
    low, high = mesh.bounds.astype(np.float64)
    centred = mesh.vertices - (low + high) / 2
    radius = float(np.linalg.norm(centred, axis=1).max())
    if radius <= 0:
        raise MeshError("vertices", "all coincide: nothing can be seen of the mesh")
    unit = Mesh((centred / radius).astype(np.float32), mesh.faces, mesh.vertex_colors)
    cameras = _framing(unit, poses, side * _SUPERSAMPLING)
    fragments = rasterize(unit, cameras, side * _SUPERSAMPLING)
    fine = _shaded(unit, fragments, cameras, background)
    covered = (fragments.face_ids >= 0).astype(np.float32)
    images = np.round(_halved(fine, side)).astype(np.uint8)
    return images, _halved(covered[..., None], side)[..., 0]


def _view_rotation(pose: ViewPose) -> NDArray[np.float64]:
    """[3, 3], object to view space (+x left, +y up, +z forward), for row vectors."""
    upright = look_at([View("", 1.0, pose.elevation, pose.azimuth)]).R[0].astype(np.float64)
    roll = np.radians(pose.roll)
    # Clockwise in the picture is clockwise for +x left, +y up: the two flips cancel.
    turn = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(upright @ turn)


def _framing(unit: Mesh, poses: Sequence[ViewPose], side: int) -> PixelCameras:
    """Cameras at a fixed distance whose pictures are cropped to the object's square."""
    rotations = np.stack([_view_rotation(pose) for pose in poses])
    seen = unit.vertices.astype(np.float64) @ rotations
    slopes = -seen[..., :2] / (seen[..., 2:] + _DISTANCE)  # photo axes: x right, y down
    low, high = slopes.min(axis=1), slopes.max(axis=1)
    extent = np.maximum((high - low).max(axis=1), 1e-6)
    focal = side * (1 - 2 * CROP_MARGIN) / extent
    principal = side / 2 - focal[:, None] * (low + high) / 2
    return PixelCameras(
        R=rotations.astype(np.float32),
        T=np.tile(np.array([[0, 0, _DISTANCE]], np.float32), (len(poses), 1)),
        focal=np.repeat(focal[:, None], 2, axis=1).astype(np.float32),
        principal=principal.astype(np.float32),
    )


def _shaded(
    unit: Mesh, fragments: Fragments, cameras: PixelCameras, background: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Flat shading, both sides of faces alike: windings of strangers' meshes are not to be trusted."""
    corners = unit.vertices.astype(np.float64)[unit.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    colours = unit.vertex_colors
    painted = np.full(unit.vertices.shape, _GREY, np.float32) if colours is None else colours.astype(np.float32)
    image = np.empty((*fragments.face_ids.shape, 3), np.float32)
    image[:] = background
    for view, ids in enumerate(fragments.face_ids):
        inside = ids >= 0
        faces = ids[inside]
        turned = (normals @ cameras.R[view].astype(np.float64)) * np.array([-1.0, -1.0, 1.0])
        turned *= np.where(turned[:, 2:] > 0, -1.0, 1.0)  # towards the camera
        light = _AMBIENT + _SKY * (0.5 - 0.5 * turned[:, 1]) + _LAMP * np.maximum(turned @ _TOWARDS_LAMP, 0)
        albedo = np.einsum("nk,nkc->nc", fragments.barycentric[view][inside], painted[unit.faces[faces]])
        image[view][inside] = np.minimum(albedo * light[faces, None].astype(np.float32), 255)
    return image


def _halved(fine: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """[J, n side, n side, C] averaged over squares of n."""
    views, channels = len(fine), fine.shape[-1]
    squares = fine.reshape(views, side, _SUPERSAMPLING, side, _SUPERSAMPLING, channels)
    return np.asarray(squares.mean(axis=(2, 4), dtype=np.float32))
