"""The default rasteriser: a scan-line z-buffer on the CPU, exact at pixel centres.

Pixel rule: a pixel belongs to a face when its centre lies in the closed projected triangle; of several faces the
nearest wins, at equal depth the lowest face id. The result does not depend on the number of threads.

Two passes per band of rows. The first walks each face's spans and keeps the largest 1/z, which is linear on the
screen. Where a scan line crosses an edge is computed from the edge's upper end, whichever face asks, so neighbours
agree bit for bit and no crack can open between them. The second computes barycentric weights and depth only for the
faces that won, from the pixel's ray and the unclipped face, so clipping never shows in them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.cameras import Cameras
from interactvlm.geometry.compiled import compiled, run_bands
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import Fragments

__all__ = ["rasterize_numba"]


def rasterize_numba(mesh: Mesh, cameras: Cameras, image_size: tuple[int, int]) -> Fragments:
    """See `interactvlm.geometry.rasterizer.rasterize`."""
    height, width = image_size
    count = len(cameras)
    focal, principal = cameras.intrinsics(image_size)
    view = cameras.world_to_view(mesh.vertices.astype(np.float64))
    with np.errstate(
        divide="ignore", invalid="ignore", over="ignore"
    ):  # vertices in the camera plane: only ever used clipped
        screen = principal[:, None] - focal[:, None] * view[..., :2] / view[..., 2:]
    face_ids = np.empty((count, height, width), dtype=np.int32)
    barycentric = np.empty((count, height, width, 3), dtype=np.float32)
    depth = np.empty((count, height, width), dtype=np.float32)

    def band(j: int, start: int, stop: int) -> None:
        _scan(
            view[j], screen[j], mesh.faces, focal[j], principal[j], cameras.znear / 2,
            start, face_ids[j, start:stop], depth[j, start:stop],
        )  # fmt: skip
        _resolve(
            view[j], mesh.faces, focal[j], principal[j],
            start, face_ids[j, start:stop], barycentric[j, start:stop], depth[j, start:stop],
        )  # fmt: skip

    run_bands(band, count, height)
    return Fragments(face_ids, barycentric, depth)


@compiled
def _clip(corners: NDArray[np.float64], z_clip: float, polygon: NDArray[np.float64]) -> int:
    """Cut the triangle `corners` [3, 3] at z = z_clip into `polygon` [4, 3]; returns how many corners are left."""
    kept = 0
    for i in range(3):
        k = (i + 1) % 3
        if corners[i, 2] >= z_clip:
            polygon[kept] = corners[i]
            kept += 1
        if (corners[i, 2] >= z_clip) != (corners[k, 2] >= z_clip):
            # From the nearer end, so that both faces of an edge cut it at the same point.
            low, high = (i, k) if corners[i, 2] < corners[k, 2] else (k, i)
            t = (z_clip - corners[low, 2]) / (corners[high, 2] - corners[low, 2])
            polygon[kept] = corners[low] + t * (corners[high] - corners[low])
            polygon[kept, 2] = z_clip
            kept += 1
    return kept


@compiled
def _scan(
    view: NDArray[np.float64],
    screen: NDArray[np.float64],
    faces: NDArray[np.int32],
    focal: NDArray[np.float64],
    principal: NDArray[np.float64],
    z_clip: float,
    row_start: int,
    face_ids: NDArray[np.int32],
    inverse_depth: NDArray[np.float32],
) -> None:
    """Write the winning face and its 1/z into rows `row_start`... of one view; 0 and -1 where there is none."""
    rows, width = face_ids.shape
    face_ids[:] = -1
    inverse_depth[:] = 0.0
    corners = np.empty((3, 3))
    polygon = np.empty((4, 3))
    points = np.empty((4, 2))
    edges = np.empty((4, 4))  # x and y of the upper end, y of the lower end, x per row
    for face in range(len(faces)):
        a, b, c = faces[face]
        near = (view[a, 2] < z_clip) + (view[b, 2] < z_clip) + (view[c, 2] < z_clip)
        if near == 3:
            continue
        sides = 3
        if near == 0:
            points[0, 0], points[0, 1] = screen[a, 0], screen[a, 1]
            points[1, 0], points[1, 1] = screen[b, 0], screen[b, 1]
            points[2, 0], points[2, 1] = screen[c, 0], screen[c, 1]
        else:
            corners[0], corners[1], corners[2] = view[a], view[b], view[c]
            sides = _clip(corners, z_clip, polygon)
            for i in range(sides):
                points[i, 0] = principal[0] - focal[0] * polygon[i, 0] / polygon[i, 2]
                points[i, 1] = principal[1] - focal[1] * polygon[i, 1] / polygon[i, 2]
        top, bottom = points[0, 1], points[0, 1]
        for i in range(1, sides):
            top = min(top, points[i, 1])
            bottom = max(bottom, points[i, 1])
        # Pixel centres are at +0.5. Bounds are clamped to both sides before conversion: projected corners can be huge.
        first = int(np.ceil(min(max(top - 0.5, row_start), row_start + rows)))
        last = int(np.floor(max(min(bottom - 0.5, row_start + rows - 1.0), row_start - 1.0)))
        if first > last:
            continue

        # 1/z = slope_x * column + slope_y * row + offset, from the plane through the three vertices.
        ux, uy, uz = view[b, 0] - view[a, 0], view[b, 1] - view[a, 1], view[b, 2] - view[a, 2]
        vx, vy, vz = view[c, 0] - view[a, 0], view[c, 1] - view[a, 1], view[c, 2] - view[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        distance = nx * view[a, 0] + ny * view[a, 1] + nz * view[a, 2]
        area = nx * nx + ny * ny + nz * nz
        squared = view[a, 0] ** 2 + view[a, 1] ** 2 + view[a, 2] ** 2
        # Seen exactly edge-on, or so small (3 micrometres at a metre) that rounding would rule its barycentrics.
        if distance * distance <= 1e-20 * area * squared or area <= 1e-22 * squared * squared:
            continue
        inverse = 1.0 / distance
        slope_x = -nx * inverse / focal[0]
        slope_y = -ny * inverse / focal[1]
        offset = nz * inverse - slope_x * (principal[0] - 0.5) - slope_y * (principal[1] - 0.5)

        for i in range(sides):
            k = i + 1 if i + 1 < sides else 0
            # From the edge's upper end, whichever face asks.
            low, high = (i, k) if points[i, 1] < points[k, 1] else (k, i)
            rise = points[high, 1] - points[low, 1]
            edges[i, 0], edges[i, 1], edges[i, 2] = points[low, 0], points[low, 1], points[high, 1]
            edges[i, 3] = (points[high, 0] - points[low, 0]) / rise if rise > 0 else 0.0

        for row in range(first, last + 1):
            y = row + 0.5
            left, right = np.inf, -np.inf
            for i in range(sides):
                if edges[i, 1] <= y <= edges[i, 2] and edges[i, 1] < edges[i, 2]:
                    x = edges[i, 0] + (y - edges[i, 1]) * edges[i, 3]
                    left = min(left, x)
                    right = max(right, x)
            begin = int(np.ceil(min(max(left - 0.5, 0.0), width)))
            end = int(np.floor(max(min(right - 0.5, width - 1.0), -1.0)))
            start = slope_y * row + offset
            depths = inverse_depth[row - row_start]
            ids = face_ids[row - row_start]
            for column in range(begin, end + 1):
                value = np.float32(slope_x * column + start)
                if value > depths[column]:
                    depths[column] = value
                    ids[column] = face


@compiled
def _resolve(
    view: NDArray[np.float64],
    faces: NDArray[np.int32],
    focal: NDArray[np.float64],
    principal: NDArray[np.float64],
    row_start: int,
    face_ids: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> None:
    """Write barycentric weights and depth of the winning faces, -1 elsewhere."""
    rows, width = face_ids.shape
    minus = np.float32(-1.0)
    for row in range(rows):
        dy = (principal[1] - (row_start + row + 0.5)) / focal[1]
        for column in range(width):
            face = face_ids[row, column]
            if face < 0:
                barycentric[row, column, 0] = minus
                barycentric[row, column, 1] = minus
                barycentric[row, column, 2] = minus
                depth[row, column] = minus
                continue
            dx = (principal[0] - (column + 0.5)) / focal[0]
            a, b, c = faces[face]
            ax, ay, az = view[a, 0], view[a, 1], view[a, 2]
            bx, by, bz = view[b, 0], view[b, 1], view[b, 2]
            cx, cy, cz = view[c, 0], view[c, 1], view[c, 2]
            # Weight of a vertex: the volume that the ray (dx, dy, 1) spans with the opposite edge.
            wa = dx * (by * cz - bz * cy) + dy * (bz * cx - bx * cz) + (bx * cy - by * cx)
            wb = dx * (cy * az - cz * ay) + dy * (cz * ax - cx * az) + (cx * ay - cy * ax)
            wc = dx * (ay * bz - az * by) + dy * (az * bx - ax * bz) + (ax * by - ay * bx)
            inverse = 1.0 / (wa + wb + wc)
            wa, wb, wc = wa * inverse, wb * inverse, wc * inverse
            barycentric[row, column, 0] = wa
            barycentric[row, column, 1] = wb
            barycentric[row, column, 2] = wc
            depth[row, column] = wa * az + wb * bz + wc * cz
