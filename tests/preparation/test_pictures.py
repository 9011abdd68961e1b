from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from interactvlm.body.template import load_template
from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.mvloc.surfaces import OfficialBody, body_views, object_views
from interactvlm.preparation.pictures import mask_png, read_mask, write_renders
from interactvlm.training.targets import MaskTargets, mask_target

SIZE = 64
CUBE = Mesh(
    np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32),
    np.array(
        [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
         [1, 5, 7], [1, 7, 3]],
        dtype=np.int32,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def cube():
    return object_views(CUBE, SIZE)


@pytest.mark.parametrize("corners", [2, 3])
def test_masks_come_back_as_training_takes_them(cube, tmp_path, corners) -> None:
    contact = np.array([1, 1, 0, 1, 1, 0, 0, 0], dtype=np.float32)
    (tmp_path / "m.png").write_bytes(mask_png(MaskTargets(cube, SIZE), contact, corners=corners))
    found = read_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(found, mask_target(cube, contact > 0, corners=corners).numpy())
    assert set(np.unique(found)) == {-1, 0, 1}


def test_three_corners_ask_for_more_than_two(cube, tmp_path) -> None:
    contact = np.array([1, 1, 0, 1, 1, 0, 0, 0], dtype=np.float32)
    count = {}
    for corners in (2, 3):
        (tmp_path / "m.png").write_bytes(mask_png(MaskTargets(cube, SIZE), contact, corners=corners))
        count[corners] = int((read_mask(tmp_path / "m.png") == 1).sum())
    assert 0 < count[3] < count[2]


def test_heat_of_points(tmp_path) -> None:
    points = PointCloud(np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32))
    views = object_views(points, SIZE)
    heat = np.linspace(0, 1, 300, dtype=np.float32)
    (tmp_path / "h.png").write_bytes(mask_png(MaskTargets(views, SIZE), heat, corners=2))
    found = read_mask(tmp_path / "h.png")
    seen = views.valid & (views.ids[..., 0] >= 0)
    np.testing.assert_allclose(found[seen], heat[views.ids[seen][:, 0]], atol=0.5 / 254 + 1e-6)
    assert (found[~views.valid] == -1).all()


def test_files_that_are_no_masks(tmp_path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_mask(tmp_path / "none.png")
    Image.new("L", (64, 64)).save(tmp_path / "square.png")
    with pytest.raises(InputError, match="is L of 64 x 64; masks are grey, 4 x 1"):
        read_mask(tmp_path / "square.png")
    Image.new("RGB", (64, 16)).save(tmp_path / "colour.png")
    with pytest.raises(InputError, match="is RGB of 64 x 16"):
        read_mask(tmp_path / "colour.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="is not a readable PNG"):
        read_mask(tmp_path / "text.png")


def test_body_renders_are_what_the_library_reads(tmp_path) -> None:
    template = load_template("anny")
    views = body_views(template, SIZE)
    write_renders(views, tmp_path / "body")
    again = body_views(OfficialBody(tmp_path / "body", template.vertex_count), SIZE)
    np.testing.assert_array_equal(again.images, views.images)
    np.testing.assert_array_equal(again.ids, views.ids)
    np.testing.assert_array_equal(again.weights, views.weights)
    np.testing.assert_array_equal(again.valid, views.valid)


def test_object_renders(cube, tmp_path) -> None:
    write_renders(cube, tmp_path / "cube")
    assert sorted(path.name for path in (tmp_path / "cube").iterdir()) == [
        "bary_coords_map_1024.npz",
        "pixel_to_vertex_map_1024.npz",
        "render_backleft.png",
        "render_backright.png",
        "render_frontleft.png",
        "render_frontright.png",
    ]
    with np.load(tmp_path / "cube" / "pixel_to_vertex_map_1024.npz") as maps:
        np.testing.assert_array_equal(maps["backleft"], cube.ids[2])
    views = object_views(PointCloud(CUBE.vertices), SIZE)
    write_renders(views, tmp_path / "points")
    with np.load(tmp_path / "points" / "pixel_to_point_map.npz") as maps:
        np.testing.assert_array_equal(maps["frontright"], views.ids[1, ..., 0])
