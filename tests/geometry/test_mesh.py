from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from interactvlm.errors import MeshError
from interactvlm.geometry import mesh as mesh_module
from interactvlm.geometry.mesh import Mesh, PointCloud

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
FACE = np.array([[0, 1, 2]], dtype=np.int32)


@pytest.mark.parametrize(
    ("vertices", "faces", "problem"),
    [
        (TRIANGLE, [[0, 1, 3]], "faces: names vertex 3; the mesh has vertices 0 to 2"),
        (TRIANGLE, [[0, 1, -1]], "faces: names vertex -1"),
        (TRIANGLE, np.zeros((0, 3), int), "faces: is empty"),
        (TRIANGLE, [[0.0, 1.0, 2.0]], "faces: must be integers"),
        (TRIANGLE, [[0, 1, 2, 0]], r"faces: must be integers of shape \[F, 3\]"),
        (TRIANGLE * np.nan, FACE, "vertices: row 0"),
        ([[0, 0, np.inf], [0, 1, 0], [1, 0, 0]], FACE, "vertices: row 0"),
        (TRIANGLE * 1e12, FACE, "vertices: reach 1e\\+12"),
        (TRIANGLE[:, :2], FACE, "vertices: must be numbers of shape"),
        (TRIANGLE[:0], FACE, "vertices: is empty"),
    ],
)
def test_invalid_arrays_are_named(vertices, faces, problem: str) -> None:
    with pytest.raises(MeshError, match=problem):
        Mesh(np.asarray(vertices), np.asarray(faces))


def test_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_module, "MAX_VERTICES", 2)
    with pytest.raises(MeshError, match="vertices: has 3 rows; the limit is 2"):
        Mesh(TRIANGLE, FACE)


def test_colours_must_match() -> None:
    with pytest.raises(MeshError, match="vertex_colors: must be uint8"):
        Mesh(TRIANGLE, FACE, np.zeros((2, 3), np.uint8))


def test_arrays_are_own_and_read_only() -> None:
    vertices = TRIANGLE.copy()
    mesh = Mesh(vertices, FACE)
    vertices[:] = 7
    assert mesh.vertices.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        mesh.vertices[0] = 3


def test_hash_sees_content_and_nothing_else() -> None:
    mesh = Mesh(TRIANGLE, FACE)
    assert mesh.content_hash == Mesh(TRIANGLE.astype(">f8"), FACE.astype(np.uint16)).content_hash
    assert len(mesh.content_hash) == 64
    assert mesh.content_hash == Mesh(TRIANGLE, FACE, np.zeros((3, 3), np.uint8)).content_hash
    others = [Mesh(TRIANGLE + 1e-6, FACE), Mesh(TRIANGLE, FACE[:, ::-1]), PointCloud(TRIANGLE)]
    assert len({mesh.content_hash, *(other.content_hash for other in others)}) == 4


def test_normals_weigh_faces_by_area() -> None:
    # Vertex 0 belongs to a face of area 2 that faces +z and one of area 1/2 that faces +x.
    mesh = Mesh(
        np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 1, 0], [0, 0, 1], [9, 9, 9]]), np.array([[0, 1, 2], [0, 3, 4]])
    )
    expected = np.array([1, 0, 4]) / np.sqrt(17)
    np.testing.assert_allclose(mesh.vertex_normals[0], expected, atol=1e-6)
    np.testing.assert_allclose(mesh.vertex_normals[5], 0)


POINTS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-1e6, 1e6, width=32, allow_nan=False)
)


@given(POINTS)
def test_centred_points_lie_in_the_unit_ball(xyz: np.ndarray) -> None:
    cloud = PointCloud(xyz)
    if (xyz == xyz[0]).all():
        return
    radius = np.linalg.norm(cloud.centred().xyz, axis=1)
    assert radius.max() == pytest.approx(1, abs=1e-5)


@given(POINTS.filter(lambda xyz: len(xyz) >= 3 and np.ptp(xyz, axis=0).max() > 1e-3))
def test_centred_mesh_has_extent_one_around_its_mean(xyz: np.ndarray) -> None:
    mesh = Mesh(xyz, FACE).centred()
    assert np.ptp(mesh.vertices, axis=0).max() == pytest.approx(1, abs=1e-5)
    assert np.abs(mesh.vertices.mean(axis=0, dtype=np.float64)).max() < 1e-5


def test_no_extent_cannot_be_normalised() -> None:
    with pytest.raises(MeshError, match="coincide"):
        Mesh(np.ones((3, 3)), FACE).centred()
    with pytest.raises(MeshError, match="coincide"):
        PointCloud(np.ones((2, 3))).centred()


def test_imports_without_torch() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; import interactvlm.geometry.mesh, interactvlm.geometry.cameras, "
        "interactvlm.geometry.render_views, interactvlm.geometry.load"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
