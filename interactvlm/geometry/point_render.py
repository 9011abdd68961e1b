"""Point clouds as overlapping discs: nearest point per pixel and alpha-composited colour (PyTorch3D's renderer)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.cameras import Cameras
from interactvlm.geometry.compiled import compiled, run_bands
from interactvlm.geometry.mesh import PointCloud

__all__ = ["POINTS_PER_PIXEL", "POINT_RADIUS", "RenderedPoints", "render_points"]

#: Radius of a point's disc, NDC (half the image's shorter side is 1), whatever its depth.
POINT_RADIUS = 0.05
#: How many of the nearest discs at a pixel are composited.
POINTS_PER_PIXEL = 10


@dataclass(frozen=True, slots=True, eq=False)
class RenderedPoints:
    """J views of a point cloud.

    Attributes:
        images: RGB float32 [J, H, W, 3], background 1.
        point_ids: int32 [J, H, W], the nearest point whose disc covers the pixel's centre, -1 where there is none.
        depth: float32 [J, H, W], view-space z of that point, -1 where there is none.
    """

    images: NDArray[np.float32]
    point_ids: NDArray[np.int32]
    depth: NDArray[np.float32]


def render_points(
    points: PointCloud, colours: NDArray[np.float32], cameras: Cameras, image_size: tuple[int, int]
) -> RenderedPoints:
    """Composite the nearest POINTS_PER_PIXEL discs of each pixel front to back.

    A disc's opacity at squared distance d from its centre is 1 - d / radius^2. Opacities are not normalised, so the
    rims of the cloud are dark, as in the released renders.

    Args:
        points: N points in the world of `cameras`.
        colours: float32 [N, 3] in [0, 1].
        cameras: J cameras.
        image_size: (height, width).
    """
    height, width = image_size
    count = len(cameras)
    view = cameras.world_to_view(points.xyz)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # points in the camera plane are not drawn
        ndc = cameras.view_to_ndc(view, image_size)
    images = np.zeros((count, height, width, 3), dtype=np.float32)
    point_ids = np.full((count, height, width), -1, dtype=np.int32)
    depth = np.full((count, height, width), -1, dtype=np.float32)
    # Front to back, at equal depth by id: each pixel then composites as it goes and needs no list of its discs.
    orders = np.argsort(view[..., 2], axis=1, kind="stable")

    def band(j: int, start: int, stop: int) -> None:
        order = orders[j][view[j][orders[j], 2] > 0]
        _composite(
            ndc[j, order, :2].astype(np.float64), view[j, order, 2], order, colours[order], height, start,
            images[j, start:stop], point_ids[j, start:stop], depth[j, start:stop],
        )  # fmt: skip

    run_bands(band, count, height)
    return RenderedPoints(images, point_ids, depth)


@compiled
def _composite(
    ndc: NDArray[np.float64],
    z: NDArray[np.float32],
    ids: NDArray[np.int64],
    colours: NDArray[np.float32],
    height: int,
    row_start: int,
    image: NDArray[np.float32],
    point_ids: NDArray[np.int32],
    depth: NDArray[np.float32],
) -> None:
    rows, width = point_ids.shape
    half = min(height, width) / 2
    radius = POINT_RADIUS * half
    transmitted = np.ones((rows, width), dtype=np.float32)
    layers = np.zeros((rows, width), dtype=np.uint8)
    for i in range(len(ids)):
        # In pixel indices: the centre of pixel (row, column) is at (row, column) here.
        x = width / 2 - half * ndc[i, 0] - 0.5
        y = height / 2 - half * ndc[i, 1] - 0.5
        # Clamped to both sides before conversion: points beside the camera land far away.
        first = int(np.ceil(min(max(y - radius, row_start), row_start + rows)))
        last = int(np.floor(max(min(y + radius, row_start + rows - 1.0), row_start - 1.0)))
        begin = int(np.ceil(min(max(x - radius, 0.0), width)))
        end = int(np.floor(max(min(x + radius, width - 1.0), -1.0)))
        for row in range(first, last + 1):
            r = row - row_start
            for column in range(begin, end + 1):
                squared = ((column - x) ** 2 + (row - y) ** 2) / (radius * radius)
                if squared >= 1 or layers[r, column] >= POINTS_PER_PIXEL:
                    continue
                if layers[r, column] == 0:
                    point_ids[r, column] = ids[i]
                    depth[r, column] = z[i]
                opacity = np.float32(1 - squared)
                weight = opacity * transmitted[r, column]
                image[r, column, 0] += weight * colours[i, 0]
                image[r, column, 1] += weight * colours[i, 1]
                image[r, column, 2] += weight * colours[i, 2]
                transmitted[r, column] *= np.float32(1) - opacity
                layers[r, column] += 1
    for r in range(rows):
        for column in range(width):
            if layers[r, column] == 0:
                image[r, column, 0] = 1.0
                image[r, column, 1] = 1.0
                image[r, column, 2] = 1.0
