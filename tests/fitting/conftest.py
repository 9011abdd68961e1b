"""Small made-up scenes with known poses: an uneven thing of boxes that three balls touch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from interactvlm.fitting.camera import PhotoCamera
from interactvlm.fitting.rotations import spread_rotations
from interactvlm.fitting.scene import FittingScene
from interactvlm.geometry.cameras import PixelCameras
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import rasterize

HEIGHT, WIDTH = 240, 320
CONTACT = 0.015
_OFF = (0.3, 0.1, -0.2)


@dataclass(frozen=True)
class Known:
    scene: FittingScene
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]


@pytest.fixture(scope="session")
def make_scene() -> Callable[[int], Known]:
    """A scene by seed; objects are 0.5 m large and stand about 3 m away."""

    def make(seed: int) -> Known:
        rng = np.random.default_rng(seed)
        item = _uneven()
        rotation = spread_rotations(40, seed=5)[seed % 40].numpy()
        translation = np.array([rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.2), rng.uniform(2.6, 3.4)])
        placed = item.vertices @ rotation + translation
        parts = [
            _ball((0.08, -0.12, 0.0), 0.1),
            _ball((-0.17, 0.12, 0.08), 0.05),
            _ball((-0.17, 0.2, -0.08), 0.05),
        ]
        body = trimesh.util.concatenate(parts)
        body_vertices = body.vertices @ rotation + translation
        near_object, near_body = cKDTree(body_vertices).query(placed)[0], cKDTree(placed).query(body_vertices)[0]
        camera = PhotoCamera((400.0, 400.0), (WIDTH / 2, HEIGHT / 2))
        labels = _visible([placed, body_vertices], [item.faces, body.faces], camera)
        scene = FittingScene(
            body=Mesh(body_vertices.astype(np.float32), body.faces),
            body_contact=(near_body < CONTACT).astype(np.float32),
            object_mesh=Mesh(item.vertices.astype(np.float32), item.faces),
            object_contact=(near_object < CONTACT).astype(np.float32),
            body_mask=labels == 1,
            object_mask=labels == 0,
            object_box=(0.0, 0.0, 1.0, 1.0),
            camera=camera,
        )
        return Known(scene, rotation, translation)

    return make


def _uneven() -> trimesh.Trimesh:
    """A foot, a column at its end, an arm at the column's top: no symmetry, and off its own origin."""
    boxes = [
        ((0.4, 0.04, 0.24), (0.0, 0, 0)),
        ((0.04, 0.4, 0.24), (-0.18, 0.2, 0)),
        ((0.2, 0.04, 0.08), (-0.1, 0.4, 0.08)),
    ]
    parts = []
    for extents, centre in boxes:
        box = trimesh.creation.box(extents)
        vertices, faces = trimesh.remesh.subdivide_to_size(box.vertices, box.faces, 0.05)
        parts.append(trimesh.Trimesh(vertices + centre, faces, process=False))
    item = trimesh.util.concatenate(parts)
    item.vertices += _OFF
    return item


def _ball(centre: tuple[float, float, float], radius: float) -> trimesh.Trimesh:
    ball = trimesh.creation.icosphere(3, radius)
    ball.vertices += centre
    ball.vertices += _OFF
    return ball


def _visible(
    vertices: list[NDArray[np.float64]], faces: list[NDArray[np.int64]], camera: PhotoCamera
) -> NDArray[np.int64]:
    """Which of the meshes each pixel sees, -1 for none."""
    offsets = np.cumsum([0, *(len(some) for some in vertices)])
    mesh = Mesh(
        np.concatenate(vertices).astype(np.float32),
        np.concatenate([some + offset for some, offset in zip(faces, offsets, strict=False)]),
    )
    owner = np.repeat(np.arange(len(faces)), [len(some) for some in faces])
    view = PixelCameras.of_photo(np.array([camera.focal]), np.array([camera.principal]), znear=0.1)
    ids = rasterize(mesh, view, (HEIGHT, WIDTH)).face_ids[0]
    return np.where(ids >= 0, owner[ids], -1)
