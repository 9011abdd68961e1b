from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from interactvlm.errors import InputError, MissingDependencyError
from interactvlm.geometry import compiled
from interactvlm.geometry.cameras import HUMAN_VIEWS, OBJECT_VIEWS, PixelCameras, look_at
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import available_backends, rasterize

UNIT_CAMERA = PixelCameras(
    R=np.eye(3, dtype=np.float32)[None] * np.array([-1, -1, 1], np.float32),
    T=np.zeros((1, 3), np.float32),
    focal=np.ones((1, 2), np.float32),
    principal=np.zeros((1, 2), np.float32),
)
"""Vertices (x, y, 1) land on pixel coordinates (x, y)."""


def grid(rng: np.random.Generator, cells: int) -> Mesh:
    """A fan of irregular triangles that exactly tiles a square of the screen."""
    side = np.linspace(2, 30, cells + 1)
    x, y = np.meshgrid(side, side)
    inner = np.s_[1:-1, 1:-1]
    x[inner] += rng.uniform(-0.4, 0.4, x[inner].shape) * (side[1] - side[0])
    y[inner] += rng.uniform(-0.4, 0.4, y[inner].shape) * (side[1] - side[0])
    index = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([c, a, d], -1).reshape(-1, 3)])
    depth = rng.uniform(1, 3, x.size)
    return Mesh(np.stack([x.ravel() * depth, y.ravel() * depth, depth], -1), faces)


@pytest.mark.parametrize("cells", [1, 7, 40, 150])
def test_neighbours_leave_no_crack(cells: int) -> None:
    """Also where triangles are smaller than pixels and vertices lie on pixel centres."""
    for seed in range(3):
        found = rasterize(grid(np.random.default_rng(seed), cells), UNIT_CAMERA, 32)
        inside = np.zeros((32, 32), bool)
        inside[2:30, 2:30] = True
        assert ((found.face_ids[0] >= 0) == inside).all()


def test_edges_belong_to_the_face() -> None:
    """A pixel centre exactly on an edge or a corner is covered; the lowest face id wins a tie."""
    vertices = np.array([[1.5, 1.5, 1], [4.5, 1.5, 1], [1.5, 4.5, 1], [4.5, 4.5, 1]])
    found = rasterize(Mesh(vertices, np.array([[0, 1, 2], [1, 2, 3]])), UNIT_CAMERA, 6).face_ids[0]
    assert (found >= 0).sum() == 16
    assert (found == 0).sum() == 10
    assert found[1, 4] == found[4, 1] == found[2, 3] == 0


@pytest.mark.parametrize("backend", available_backends())
def test_nearer_face_hides_farther_whatever_the_order(backend: str) -> None:
    near = np.array([[0, 0, 1], [20, 0, 1], [0, 20, 1]]) * 2.0
    far = np.array([[0, 0, 1], [20, 0, 1], [0, 20, 1]]) * 4.0
    for vertices, winner in ((np.r_[near, far], 0), (np.r_[far, near], 1)):
        found = rasterize(Mesh(vertices, np.arange(6).reshape(2, 3)), UNIT_CAMERA, 8, backend=backend)
        assert (found.face_ids == winner).all()
        np.testing.assert_allclose(found.depth, 2, rtol=1e-6)


def _needle(axis: int) -> np.ndarray:
    """A face of a length of one metre that is narrower than any float can resolve, and nothing else."""
    vertices = np.zeros((9, 3), np.float32)
    vertices[0, axis] = 1e-20
    vertices[1, 1 - axis] = 1
    return vertices


_ONE_FACE = np.array([[0, 1, 2]] + [[2, 2, 2]] * 4, np.int32)


@example(_needle(0), _ONE_FACE)
@example(_needle(1), _ONE_FACE)
@given(
    hnp.arrays(np.float32, (9, 3), elements=st.floats(-4, 4, width=32)),
    hnp.arrays(np.int32, (5, 3), elements=st.integers(0, 8)),
)
@settings(max_examples=60, deadline=None)
def test_any_mesh_gives_a_consistent_answer(vertices: np.ndarray, faces: np.ndarray) -> None:
    """Degenerate faces, faces behind the camera and faces across the near plane included."""
    cameras = look_at(HUMAN_VIEWS)
    found = rasterize(Mesh(vertices, faces), cameras, (17, 23))
    covered = found.face_ids >= 0
    assert found.face_ids.max() < len(faces)
    assert (found.depth[covered] >= 0.5 * 0.999).all()
    assert (found.depth[~covered] == -1).all()
    np.testing.assert_allclose(found.barycentric[covered].sum(axis=-1), 1, atol=1e-4)
    assert found.barycentric[covered].min(initial=0) > -1e-3


@given(
    hnp.arrays(np.int32, (6, 3), elements=st.integers(-6, 6)),
    hnp.arrays(np.int32, (6, 3), elements=st.integers(0, 5)),
    st.sampled_from([0.5, 1.0, 3e7]),
)
@settings(max_examples=100, deadline=None)
def test_flat_and_huge_faces_stay_in_the_image(lattice: np.ndarray, faces: np.ndarray, scale: float) -> None:
    """Edges along pixel rows and columns, faces of no area, corners so near the camera that they project to 1e16."""
    camera = replace(UNIT_CAMERA, znear=2e-9)
    vertices = np.c_[lattice[:, :2] * scale + 2.5, np.where(lattice[:, 2] > 0, 1.0, lattice[:, 2] * 1e-9 + 4e-9)]
    found = rasterize(Mesh(vertices, faces), camera, (7, 9))
    assert found.face_ids.min() >= -1
    assert found.face_ids.max() < 6
    assert (found.depth[found.face_ids >= 0] > 0).all()


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(0)
    mesh = Mesh(rng.normal(size=(300, 3)) * 0.3, rng.integers(0, 300, (500, 3)))
    cameras = look_at(OBJECT_VIEWS)
    expected = rasterize(mesh, cameras, 64)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: rasterize(mesh, cameras, 64), range(16)))
    for answer in answers:
        np.testing.assert_array_equal(answer.face_ids, expected.face_ids)
        np.testing.assert_array_equal(answer.barycentric, expected.barycentric)


def test_bands_cover_every_row_once() -> None:
    for count, height in ((1, 1), (4, 3), (1, 1024), (7, 33)):
        rows = np.zeros((count, height), int)

        def visit(view: int, start: int, stop: int, rows: np.ndarray = rows) -> None:
            rows[view, start:stop] += 1

        compiled.run_bands(visit, count, height)
        assert (rows == 1).all()


@pytest.mark.parametrize("size", [0, (0, 5), (5, 9000)])
def test_image_size_is_bounded(size) -> None:
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="sides must be 1 to 8192"):
        rasterize(mesh, look_at(HUMAN_VIEWS), size)


def test_unknown_and_missing_backends_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="'opengl'"):
        rasterize(mesh, look_at(HUMAN_VIEWS), 8, backend="opengl")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pytorch3d is not installed"):
        rasterize(mesh, look_at(HUMAN_VIEWS), 8, backend="pytorch3d")
