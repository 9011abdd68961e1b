from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from interactvlm.checkpoints.convert import convert
from interactvlm.errors import InputError, MeshError, PhotoError
from interactvlm.geometry.cameras import OBJECT_VIEWS
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.geometry.official_object import OfficialMesh, OfficialPoints, load_official_object
from interactvlm.geometry.pixel_maps import PixelMaps
from interactvlm.geometry.render_views import render_object_points, render_object_views

NAMES = [view.name for view in OBJECT_VIEWS]
SIDE = 48


@pytest.fixture(scope="module")
def ball() -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=2)
    return Mesh(sphere.vertices, sphere.faces)


@pytest.fixture
def mesh_folder(tmp_path: Path, ball: Mesh) -> tuple[Path, PixelMaps]:
    """As the release's demo leaves it, one map file a view."""
    rendered = render_object_views(ball.centred(), SIDE)
    assert rendered.maps is not None
    for i, name in enumerate(NAMES):
        Image.fromarray(rendered.images[i]).save(tmp_path / f"obj_render_color_{name}.png")
        np.savez(
            tmp_path / f"p2vmap_{name}_{SIDE}.npz",
            pixel_to_vertices_map=rendered.maps.vertex_ids[i].astype(np.int64),
            bary_coords_map=rendered.maps.weights[i],
            num_vertices=len(ball.vertices),
        )
    rows = [f"v {x} {y} {z}" for x, y, z in ball.vertices] + [f"f {a} {b} {c}" for a, b, c in ball.faces + 1]
    (tmp_path / "ball.obj").write_text("\n".join(rows))
    return tmp_path, rendered.maps


@pytest.fixture
def points_folder(tmp_path: Path, ball: Mesh) -> Path:
    points = render_object_points(PointCloud(ball.vertices).centred(), SIDE)
    for i, name in enumerate(NAMES):
        Image.fromarray(points.images[i]).save(tmp_path / f"sam_{name}.png")
        assert points.point_ids is not None
        np.savez(tmp_path / f"p2pmap_{name}_{SIDE}.npz", mapping=points.point_ids[i].astype(np.int64))
    np.savez(tmp_path / "points.npz", xyz=ball.vertices, heat=np.zeros(len(ball.vertices)))
    return tmp_path


def load_points(ball: Mesh) -> object:
    from interactvlm.geometry.mesh import PointCloud

    return PointCloud(ball.vertices).centred()


def test_a_mesh_with_its_own_views(mesh_folder: tuple[Path, PixelMaps], ball: Mesh) -> None:
    folder, maps = mesh_folder
    read = load_official_object(folder)
    assert isinstance(read, OfficialMesh)
    assert read.content_hash == ball.content_hash
    np.testing.assert_array_equal(read.views.maps.vertex_ids, maps.vertex_ids)
    np.testing.assert_array_equal(read.views.maps.weights, maps.weights)
    assert read.views.images.shape == (4, SIDE, SIDE, 3)
    assert read.views.content_hash == load_official_object(folder).views.content_hash


def test_the_converted_demo_file_is_the_same(mesh_folder: tuple[Path, PixelMaps]) -> None:
    folder, maps = mesh_folder
    by_view = load_official_object(folder).views.content_hash
    with (folder / "lift2d_dict.pkl").open("wb") as file:
        pickle.dump(
            {
                "pixel_to_vertices_map": list(maps.vertex_ids.astype(np.int64)),
                "bary_coords_map": list(maps.weights),
                "num_vertices": int(np.load(folder / f"p2vmap_{NAMES[0]}_{SIDE}.npz")["num_vertices"]),
            },
            file,
        )
    for name in NAMES:
        (folder / f"p2vmap_{name}_{SIDE}.npz").unlink()
    with pytest.raises(MeshError, match=r"as a pickle; run `interactvlm convert-checkpoint \S+lift2d_dict\.pkl"):
        load_official_object(folder)
    convert(folder / "lift2d_dict.pkl", folder / "lift2d_dict.npz")
    assert load_official_object(folder).views.content_hash == by_view


def test_points_with_their_own_views(points_folder: Path, ball: Mesh) -> None:
    read = load_official_object(points_folder)
    assert isinstance(read, OfficialPoints)
    np.testing.assert_array_equal(read.xyz, ball.vertices)
    assert read.views.maps.vertex_ids.shape == (4, SIDE, SIDE, 1)
    assert (read.views.maps.vertex_ids >= 0).any((1, 2, 3)).all()


def no_render(folder: Path) -> None:
    (folder / "obj_render_color_backleft.png").unlink()


def small_render(folder: Path) -> None:
    Image.new("RGB", (8, 9)).save(folder / "obj_render_color_backleft.png")


def text_render(folder: Path) -> None:
    (folder / "obj_render_color_backleft.png").write_text("not a picture")


def no_view(folder: Path) -> None:
    (folder / f"p2vmap_backright_{SIDE}.npz").unlink()


def cut_view(folder: Path) -> None:
    path = folder / f"p2vmap_backright_{SIDE}.npz"
    path.write_bytes(path.read_bytes()[:300])


def other_mesh(folder: Path) -> None:
    (folder / "ball.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")


def two_meshes(folder: Path) -> None:
    (folder / "second.ply").write_text("ply")


def other_shape(folder: Path) -> None:
    path = folder / f"p2vmap_backright_{SIDE}.npz"
    stored = dict(np.load(path))
    np.savez(path, **{**stored, "bary_coords_map": stored["bary_coords_map"][:4]})


def wild_index(folder: Path) -> None:
    path = folder / f"p2vmap_backright_{SIDE}.npz"
    stored = dict(np.load(path))
    np.savez(path, **{**stored, "pixel_to_vertices_map": stored["pixel_to_vertices_map"] + 1000})


def no_maps(folder: Path) -> None:
    for path in folder.glob("p2vmap_*"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_render, r"obj_render_color_backleft\.png: is missing"),
        (small_render, "is 8 x 9 pixels; the maps are 48 x 48"),
        (text_render, "is not a readable PNG"),
        (no_view, r"must hold one p2vmap_backright_\*\.npz, it has none"),
        (cut_view, r"p2vmap_backright_48\.npz: is damaged"),
        (other_mesh, "is for a mesh of 162 vertices; the one beside it has 3"),
        (two_meshes, r"must hold one mesh .*, it has ball\.obj, second\.ply"),
        (other_shape, "has other shapes in other views"),
        (wild_index, "names vertex 1161; vertices are 0 to 161"),
        (no_maps, "holds no maps"),
    ],
)
def test_damage_is_one_sentence(
    mesh_folder: tuple[Path, PixelMaps], damage: Callable[[Path], None], message: str
) -> None:
    damage(mesh_folder[0])
    with pytest.raises((MeshError, PhotoError), match=message):
        load_official_object(mesh_folder[0])


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as an object's folder"):
        load_official_object(tmp_path / "none")
