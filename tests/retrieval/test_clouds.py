from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.geometry.load import load_mesh
from interactvlm.geometry.mesh import Mesh
from interactvlm.retrieval.clouds import CLOUD_POINTS, ColouredCloud, cloud_of_mesh, cloud_of_points, turned
from interactvlm.retrieval.point_groups import MISSING_COLOUR
from interactvlm.retrieval.shape_embedding import ShapeEmbedder
from interactvlm.retrieval.shape_encoder import ShapeEncoder, ShapeEncoderConfig

SMALL = ShapeEncoderConfig(
    width=16, depth=1, heads=2, head_width=8, mlp_width=24, group_width=12, groups=20, group_size=8, embedding=10
)


def embedder(up: str = "z") -> ShapeEmbedder:
    torch.manual_seed(0)
    config = ShapeEncoderConfig(**{name: getattr(SMALL, name) for name in SMALL.__slots__} | {"up": up})
    return ShapeEmbedder(ShapeEncoder(config=config).eval(), batch=2)


def box(colours: np.ndarray | None = None) -> Mesh:
    shape = trimesh.creation.box((1, 2, 3))
    return Mesh(shape.vertices, shape.faces, colours)


def points(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), count=st.sampled_from([2, 30, 500, CLOUD_POINTS + 300]))
def test_the_order_of_points_changes_nothing(seed: int, count: int) -> None:
    xyz, rgb = points(seed, count), np.random.default_rng(seed).random((count, 3))
    order = np.random.default_rng(seed + 1).permutation(count)
    one, other = cloud_of_points(xyz, rgb), cloud_of_points(xyz[order], rgb[order])
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.colours, other.colours)
    assert len(one.points) == min(count, CLOUD_POINTS)
    np.testing.assert_array_equal(embedder()([one]), embedder()([other]))


def test_a_batch_equals_its_shapes_one_by_one() -> None:
    shapes = [box(), cloud_of_points(points(1, 60)), cloud_of_points(points(2, 60)), cloud_of_points(points(3, 90))]
    together = embedder()(shapes)
    assert together.shape == (4, 10)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(together, np.concatenate([embedder()([shape]) for shape in shapes]), atol=1e-6)
    assert embedder()([]).shape == (0, 10)


def test_a_mesh_is_sampled_by_area_and_the_same_each_time() -> None:
    cloud = cloud_of_mesh(box())
    assert cloud.points.shape == (CLOUD_POINTS, 3)
    np.testing.assert_array_equal(cloud.points, cloud_of_mesh(box()).points)
    sides = np.isclose(np.abs(cloud.points), np.array([0.5, 1, 1.5])).mean(0)
    np.testing.assert_allclose(sides, np.array([6, 3, 2]) / 11, atol=0.02)
    assert (cloud.colours == np.float32(MISSING_COLOUR)).all()


def test_colours_are_blended_between_vertices() -> None:
    colours = np.zeros((8, 3), np.uint8)
    colours[box().vertices[:, 1] > 0] = 255
    cloud = cloud_of_mesh(box(colours))
    np.testing.assert_allclose(cloud.colours[:, 0], (cloud.points[:, 1] + 1) / 2, atol=1e-5)
    np.testing.assert_array_equal(cloud_of_points(points(0, 8), colours).colours.max(), 1)


def test_a_glb_is_sampled() -> None:
    glb = trimesh.Trimesh(box().vertices, box().faces).export(file_type="glb")
    assert embedder()([load_mesh(glb, file_type="glb")]).shape == (1, 10)


def test_up_is_turned_not_mirrored() -> None:
    cloud = cloud_of_points(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))
    z_up = turned(cloud, up="z")
    top = cloud.points[:, 1] == 1
    assert z_up.points[top].tolist() == [[0, 0, 1]]
    assert np.isclose(np.linalg.det(z_up.points) / np.linalg.det(cloud.points), 1)
    np.testing.assert_array_equal(turned(z_up, up="y").points, cloud.points)
    assert turned(cloud, up="y") is cloud
    np.testing.assert_allclose(embedder("z")([cloud]), embedder("y")([ColouredCloud(z_up.points, z_up.colours, "y")]))


@pytest.mark.parametrize(
    ("xyz", "rgb", "problem"),
    [
        (np.zeros((0, 3)), None, r"\[0, 3\]; \[N, 3\] with N from 1"),
        (np.zeros((4, 2)), None, r"\[4, 2\]"),
        (np.broadcast_to(np.float32(1), (100_000_000, 3)), None, r"\[100000000, 3\].* to 5000000"),
        (np.full((4, 3), np.nan), None, "finite"),
        (np.array([[0, 0, np.inf], [0, 0, 0]]), None, "finite"),
        (np.full((4, 3), 7.0), None, "no shape"),
        (np.full((4, 3), "a"), None, "numbers are needed"),
        (points(0, 4), np.zeros((3, 3)), r"colours: have shape \[3, 3\]"),
        (points(0, 4), np.full((4, 3), 2.0), "floats from 0 to 1"),
        (points(0, 4), np.full((4, 3), np.nan), "floats from 0 to 1"),
    ],
)
def test_hostile_clouds_are_refused(xyz: np.ndarray, rgb: np.ndarray | None, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        cloud_of_points(xyz, rgb)


def test_shapes_without_area_and_unknown_axes_are_refused() -> None:
    with pytest.raises(InputError, match="no area"):
        cloud_of_mesh(Mesh(np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32), np.array([[0, 1, 2]], np.int32)))
    with pytest.raises(InputError, match="up: is 'x'"):
        cloud_of_mesh(box(), up="x")
