"""Cameras in PyTorch3D's convention, and the views of the paper. Numpy only.

Axes: row vectors, `x_view = x_world R + T`; +X left, +Y up, +Z away from the camera, in view space and in normalised
device coordinates (NDC). NDC spans [-1, 1] over the shorter side of the image. Screen: x right, y down, in pixels;
the centre of pixel (row i, column j) is (j + 0.5, i + 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FIELD_OF_VIEW",
    "HUMAN_VIEWS",
    "OBJECT_DISTANCE",
    "OBJECT_DISTANCE_RENDERED",
    "OBJECT_VIEWS",
    "Cameras",
    "FoVCameras",
    "PixelCameras",
    "View",
    "at_distance",
    "camera_parameters",
    "look_at",
]

FloatArray = NDArray[np.float32]

#: Degrees, over the shorter side of the image.
FIELD_OF_VIEW = 60.0


@dataclass(frozen=True, slots=True)
class View:
    """A camera that looks at the origin, and the light it is rendered with.

    Attributes:
        name: the release's name of the view.
        distance: from the origin, metres.
        elevation: degrees above the xz plane.
        azimuth: degrees from +z towards +x.
        shift_x: metres added to the translation T's x (moves the subject left in the image).
        shift_y: metres added to the translation T's y (moves the subject up in the image).
    """

    name: str
    distance: float
    elevation: float
    azimuth: float
    shift_x: float = 0.0
    shift_y: float = 0.0

    @property
    def light(self) -> tuple[float, float, float]:
        """The point light, world metres: (0, 0, 3) for a camera in front (z > 0), (0, 0, -3) for one behind."""
        in_front = math.cos(math.radians(self.elevation)) * math.cos(math.radians(self.azimuth)) > 0
        return (0.0, 0.0, 3.0 if in_front else -3.0)


#: The body's views (PAPER, "Views"). The order indexes Phi's per-view layers.
HUMAN_VIEWS = (
    View("topfront", 2.0, 45.0, 315.0),
    View("bottomfront", 2.0, 315.0, 315.0, 0.0, 0.3),
    View("topback", 2.0, 45.0, 135.0),
    View("bottomback", 2.0, 315.0, 135.0, 0.0, 0.3),
)

#: Distance that conditions Phi for objects in the released demo, and at which point clouds are rendered.
OBJECT_DISTANCE = 2.0
#: Distance at which the release renders object meshes; the PICO-trained joint model conditions Phi with it too.
OBJECT_DISTANCE_RENDERED = 1.5

#: The object's views, in the order of Phi's per-view layers, at OBJECT_DISTANCE; see `at_distance`.
OBJECT_VIEWS = (
    View("frontleft", OBJECT_DISTANCE, 45.0, 315.0),
    View("frontright", OBJECT_DISTANCE, 45.0, 45.0),
    View("backleft", OBJECT_DISTANCE, 330.0, 135.0),
    View("backright", OBJECT_DISTANCE, 330.0, 225.0),
)


def at_distance(views: Sequence[View], distance: float) -> tuple[View, ...]:
    """The same views from another distance (metres)."""
    return tuple(replace(view, distance=distance) for view in views)


def camera_parameters(views: Sequence[View]) -> FloatArray:
    """What Phi is given of each camera, float32 [J, 5].

    Rows are (distance / 10, elevation / 360, azimuth / 360, (shift_x + 1) / 2, (shift_y + 1) / 2).
    """
    rows = [
        (v.distance / 10, v.elevation / 360, v.azimuth / 360, (v.shift_x + 1) / 2, (v.shift_y + 1) / 2) for v in views
    ]
    return np.array(rows, dtype=np.float32).reshape(-1, 5)


@dataclass(frozen=True, eq=False, kw_only=True)
class Cameras:
    """J cameras; use FoVCameras or PixelCameras, which say how view space is projected.

    Attributes:
        R: float32 [J, 3, 3], rotations for row vectors.
        T: float32 [J, 3], translations, metres.
        znear: nearest depth, metres. Rasterisers cut triangles at half of it, as PyTorch3D does.
        zfar: depth that NDC maps to 1, metres; nothing is cut there.
    """

    R: FloatArray
    T: FloatArray
    znear: float = 1.0
    zfar: float = 100.0

    def __len__(self) -> int:
        return len(self.T)

    @property
    def center(self) -> FloatArray:
        """Camera positions in the world, float32 [J, 3]."""
        return np.asarray(-np.einsum("ji,jki->jk", self.T, self.R))

    def world_to_view(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Points [N, 3] in every camera's view space, [J, N, 3], in the points' precision."""
        rotation = self.R.astype(points.dtype)
        return np.asarray(points @ rotation + self.T[:, None].astype(points.dtype))

    def intrinsics(self, image_size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Focal lengths and principal points in pixels, float64 [J, 2] each (x, y), for an image (height, width).

        `screen = principal - focal * (X, Y) / Z` of view space.
        """
        raise NotImplementedError

    def ndc_depth(self, depth: NDArray[np.floating]) -> NDArray[np.floating]:
        """The third NDC coordinate of a view-space depth."""
        raise NotImplementedError

    def view_to_ndc(self, points: NDArray[np.floating], image_size: tuple[int, int]) -> NDArray[np.floating]:
        """Points [J, N, 3] of view space in NDC, [J, N, 3]."""
        focal, principal = self.intrinsics(image_size)
        height, width = image_size
        half = min(height, width) / 2
        offset = (np.array([width / 2, height / 2]) - principal)[:, None] / half
        xy = points[..., :2] * (focal[:, None] / half) / points[..., 2:] + offset
        return np.concatenate([xy, self.ndc_depth(points[..., 2:])], axis=-1).astype(points.dtype)

    def ndc_to_screen(self, points: NDArray[np.floating], image_size: tuple[int, int]) -> NDArray[np.floating]:
        """Points [J, N, 3] of NDC in pixels (x, y) of an image (height, width); the third coordinate stays."""
        height, width = image_size
        half = min(height, width) / 2
        xy = np.array([width / 2, height / 2]) - half * points[..., :2]
        return np.concatenate([xy, points[..., 2:]], axis=-1).astype(points.dtype)

    def world_to_screen(self, points: NDArray[np.floating], image_size: tuple[int, int]) -> NDArray[np.floating]:
        """Points [N, 3] in pixels of every camera's image (height, width), with NDC depth, [J, N, 3]."""
        return self.ndc_to_screen(self.view_to_ndc(self.world_to_view(points), image_size), image_size)


@dataclass(frozen=True, eq=False, kw_only=True)
class FoVCameras(Cameras):
    """Cameras by field of view, centred, for any image size.

    Attributes:
        fov: degrees over the shorter side of the image.
    """

    fov: float = FIELD_OF_VIEW

    def intrinsics(self, image_size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See Cameras."""
        height, width = image_size
        focal = min(height, width) / 2 / math.tan(math.radians(self.fov) / 2)
        count = len(self)
        return np.full((count, 2), focal), np.tile([width / 2, height / 2], (count, 1))

    def ndc_depth(self, depth: NDArray[np.floating]) -> NDArray[np.floating]:
        """From 0 at znear to 1 at zfar."""
        scale = self.zfar / (self.zfar - self.znear)
        return np.asarray(scale - scale * self.znear / depth)

    @property
    def projection(self) -> FloatArray:
        """Projection matrices for row vectors [X, Y, Z, 1] of view space, float32 [J, 4, 4]."""
        scale = 1 / math.tan(math.radians(self.fov) / 2)
        depth_scale = self.zfar / (self.zfar - self.znear)
        matrix = np.zeros((4, 4), dtype=np.float32)
        matrix[0, 0] = matrix[1, 1] = scale
        matrix[2, 2], matrix[2, 3] = depth_scale, 1.0
        matrix[3, 2] = -depth_scale * self.znear
        return np.tile(matrix, (len(self), 1, 1))


@dataclass(frozen=True, eq=False, kw_only=True)
class PixelCameras(Cameras):
    """Cameras given in pixels of their own image, as a photo's camera is: x right, y down, z forward.

    Use `PixelCameras.of_photo` for points in that photo frame.

    Attributes:
        focal: float32 [J, 2], pixels.
        principal: float32 [J, 2], pixels.
    """

    focal: FloatArray
    principal: FloatArray

    @classmethod
    def of_photo(cls, focal: FloatArray, principal: FloatArray, *, znear: float = 1.0) -> PixelCameras:
        """Cameras whose world is the photo's frame (x right, y down, z forward): R = diag(-1, -1, 1), T = 0.

        Args:
            focal: [J, 2], pixels.
            principal: [J, 2], pixels.
            znear: nearest depth, metres.
        """
        count = len(focal)
        rotation = np.tile(np.diag([-1.0, -1.0, 1.0]).astype(np.float32), (count, 1, 1))
        return cls(
            R=rotation,
            T=np.zeros((count, 3), dtype=np.float32),
            znear=znear,
            focal=np.asarray(focal, dtype=np.float32),
            principal=np.asarray(principal, dtype=np.float32),
        )

    def intrinsics(self, image_size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See Cameras; the image size is the photo's own and changes nothing."""
        return self.focal.astype(np.float64), self.principal.astype(np.float64)

    def ndc_depth(self, depth: NDArray[np.floating]) -> NDArray[np.floating]:
        """The inverse depth."""
        return np.asarray(1 / depth)


def look_at(views: Sequence[View]) -> FoVCameras:
    """The cameras of these views: field of view 60 degrees, near 1 m, far 100 m."""
    distance, elevation, azimuth, shift_x, shift_y = (
        np.array([(v.distance, v.elevation, v.azimuth, v.shift_x, v.shift_y) for v in views], dtype=np.float64)
        .reshape(-1, 5)
        .T
    )
    elevation, azimuth = np.radians(elevation), np.radians(azimuth)
    position = distance[:, None] * np.stack(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)], axis=1
    )
    forward = -position / np.linalg.norm(position, axis=1, keepdims=True)
    left = np.cross([0.0, 1.0, 0.0], forward)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    rotation = np.stack([left, np.cross(forward, left), forward], axis=2)
    translation = -np.einsum("ji,jik->jk", position, rotation) + np.stack([shift_x, shift_y, 0 * shift_x], axis=1)
    return FoVCameras(R=rotation.astype(np.float32), T=translation.astype(np.float32))
