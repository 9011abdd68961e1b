"""Hard Phong shading with vertex colours: one point light, white background (PyTorch3D's HardPhongShader)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.cameras import Cameras
from interactvlm.geometry.compiled import compiled, run_bands
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import Fragments

__all__ = ["AMBIENT", "DIFFUSE", "SHININESS_LOG2", "SPECULAR", "shade"]

#: Light and material of every render of the release (PAPER, "Views").
AMBIENT = 0.5
DIFFUSE = 0.3
SPECULAR = 0.2
#: The highlight's exponent is 64: six squarings.
SHININESS_LOG2 = 6


def shade(
    mesh: Mesh,
    colours: NDArray[np.float32],
    fragments: Fragments,
    cameras: Cameras,
    lights: Sequence[tuple[float, float, float]],
) -> NDArray[np.float32]:
    """Shaded views, RGB float32 [J, H, W, 3] in [0, 1], background 1.

    Args:
        mesh: what was rasterised.
        colours: float32 [V, 3] in [0, 1], interpolated over each face.
        fragments: of `mesh` in `cameras`.
        cameras: J cameras.
        lights: position of the point light of each view, world metres.
    """
    images = np.empty((*fragments.face_ids.shape, 3), dtype=np.float32)
    painted = np.ascontiguousarray(colours)
    centers = cameras.center.astype(np.float64)
    positions = np.asarray(lights, dtype=np.float64)

    def band(j: int, start: int, stop: int) -> None:
        _shade(
            mesh.vertices, mesh.vertex_normals, painted, mesh.faces,
            fragments.face_ids[j, start:stop], fragments.barycentric[j, start:stop],
            centers[j], positions[j], images[j, start:stop],
        )  # fmt: skip

    run_bands(band, len(cameras), images.shape[1])
    return images


@compiled
def _shade(
    vertices: NDArray[np.float32],
    normals: NDArray[np.float32],
    colours: NDArray[np.float32],
    faces: NDArray[np.int32],
    face_ids: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    center: NDArray[np.float64],
    light: NDArray[np.float64],
    image: NDArray[np.float32],
) -> None:
    height, width = face_ids.shape
    point, normal, colour = np.empty(3), np.empty(3), np.empty(3)
    to_light, to_eye = np.empty(3), np.empty(3)
    for row in range(height):
        for column in range(width):
            face = face_ids[row, column]
            if face < 0:
                image[row, column, 0] = 1.0
                image[row, column, 1] = 1.0
                image[row, column, 2] = 1.0
                continue
            a, b, c = faces[face]
            wa, wb, wc = barycentric[row, column]
            for k in range(3):
                point[k] = wa * vertices[a, k] + wb * vertices[b, k] + wc * vertices[c, k]
                normal[k] = wa * normals[a, k] + wb * normals[b, k] + wc * normals[c, k]
                colour[k] = wa * colours[a, k] + wb * colours[b, k] + wc * colours[c, k]
                to_light[k] = light[k] - point[k]
                to_eye[k] = center[k] - point[k]
            _normalise(normal)
            _normalise(to_light)
            _normalise(to_eye)
            facing = normal[0] * to_light[0] + normal[1] * to_light[1] + normal[2] * to_light[2]
            diffuse, specular = 0.0, 0.0
            if facing > 0:
                diffuse = DIFFUSE * facing
                for k in range(3):
                    specular += to_eye[k] * (2 * facing * normal[k] - to_light[k])
                specular = max(specular, 0.0)
                for _ in range(SHININESS_LOG2):
                    specular *= specular
                specular *= SPECULAR
            for k in range(3):
                image[row, column, k] = (AMBIENT + diffuse) * colour[k] + specular


@compiled
def _normalise(vector: NDArray[np.float64]) -> None:
    length = np.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2)
    scale = 1.0 / max(length, 1e-6)
    vector[0] *= scale
    vector[1] *= scale
    vector[2] *= scale
