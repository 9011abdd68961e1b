from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from interactvlm.errors import MeshError
from interactvlm.geometry.cameras import HUMAN_VIEWS, look_at
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.pixel_maps import PixelMaps, pixel_maps, read_pixel_maps, valid_pixels, write_pixel_maps
from interactvlm.geometry.rasterizer import rasterize

NAMES = [view.name for view in HUMAN_VIEWS]


@pytest.fixture(scope="module")
def maps() -> PixelMaps:
    rng = np.random.default_rng(0)
    mesh = Mesh(rng.normal(size=(40, 3)) * 0.3, rng.integers(0, 40, (60, 3)))
    return pixel_maps(mesh, rasterize(mesh, look_at(HUMAN_VIEWS), 32))


def test_maps_name_the_face_of_each_pixel() -> None:
    mesh = Mesh(np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0.0]]), np.array([[2, 0, 1]]))
    fragments = rasterize(mesh, look_at(HUMAN_VIEWS), 32)
    found = pixel_maps(mesh, fragments)
    assert found.vertex_ids.dtype == np.int32
    assert (found.vertex_ids[fragments.face_ids == 0] == [2, 0, 1]).all()
    assert (found.vertex_ids[fragments.face_ids < 0] == -1).all()
    assert (fragments.face_ids == 0).any()


def test_written_maps_are_read_back(maps: PixelMaps, tmp_path: Path) -> None:
    paths = tmp_path / "pixel_to_vertex_map_1024.npz", tmp_path / "bary_coords_map_1024.npz"
    write_pixel_maps(maps, *paths, NAMES)
    assert sorted(np.load(paths[0]).files) == sorted(NAMES)
    back = read_pixel_maps(*paths, NAMES[::-1], vertex_count=40)
    np.testing.assert_array_equal(back.vertex_ids, maps.vertex_ids[::-1])
    np.testing.assert_array_equal(back.weights, maps.weights[::-1])
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def test_reading_says_what_is_wrong(maps: PixelMaps, tmp_path: Path) -> None:
    ids, weights = tmp_path / "ids.npz", tmp_path / "weights.npz"
    write_pixel_maps(maps, ids, weights, NAMES)
    with pytest.raises(MeshError, match="names vertex 39; vertices are 0 to 38"):
        read_pixel_maps(ids, weights, NAMES, vertex_count=39)
    with pytest.raises(MeshError, match=r"ids\.npz: lacks frontleft"):
        read_pixel_maps(ids, weights, ["frontleft"], vertex_count=40)
    with pytest.raises(MeshError, match="must hold integers"):
        read_pixel_maps(weights, ids, NAMES, vertex_count=40)
    with pytest.raises(MeshError, match=r"none\.npz: does not exist"):
        read_pixel_maps(tmp_path / "none.npz", weights, NAMES, vertex_count=40)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(MeshError, match=r"damaged or not a \.npz file"):
        read_pixel_maps(tmp_path / "text.npz", weights, NAMES, vertex_count=40)
    (tmp_path / "cut.npz").write_bytes(ids.read_bytes()[:-100])
    with pytest.raises(MeshError, match=r"damaged or not a \.npz file"):
        read_pixel_maps(tmp_path / "cut.npz", weights, NAMES, vertex_count=40)
    np.savez(tmp_path / "flat.npz", a=np.zeros((4, 4), int))
    with pytest.raises(MeshError, match=r"is \[4, 4\]; maps are \[height, width, 3\]"):
        read_pixel_maps(tmp_path / "flat.npz", weights, ["a"], vertex_count=40)
    mixed = maps.vertex_ids.copy()
    mixed[0, 0, 0] = (-1, 2, 3)
    write_pixel_maps(PixelMaps(mixed, maps.weights), ids, weights, NAMES)
    with pytest.raises(MeshError, match="-1 beside vertex ids"):
        read_pixel_maps(ids, weights, NAMES, vertex_count=40)
    bad = maps.weights.copy()
    bad[0, 0, 0] = np.nan
    write_pixel_maps(PixelMaps(maps.vertex_ids, bad), ids, weights, NAMES)
    with pytest.raises(MeshError, match="not finite"):
        read_pixel_maps(ids, weights, NAMES, vertex_count=40)


def test_a_failed_write_leaves_nothing(maps: PixelMaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_pixel_maps(maps, tmp_path / "a.npz", tmp_path / "b.npz", NAMES)
    assert list(tmp_path.iterdir()) == []


def test_a_declared_size_costs_no_memory(maps: PixelMaps, tmp_path: Path) -> None:
    ids, weights, header = tmp_path / "ids.npz", tmp_path / "weights.npz", io.BytesIO()
    write_pixel_maps(maps, ids, weights, NAMES)
    np.lib.format.write_array_header_1_0(header, {"descr": "<i4", "fortran_order": False, "shape": (10**6, 10**6, 3)})
    with zipfile.ZipFile(ids, "w") as archive:
        archive.writestr(f"{NAMES[0]}.npy", header.getvalue())
    with pytest.raises(MeshError, match="declares 3000000000000 numbers"):
        read_pixel_maps(ids, weights, NAMES[:1], vertex_count=40)


def test_valid_pixels_are_all_but_pure_white() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(250, 256, (2, 50, 50, 3)).astype(np.uint8)
    np.testing.assert_array_equal(valid_pixels(images), images.sum(axis=-1, dtype=int) < 765)
    assert valid_pixels(images).any()
    assert not valid_pixels(images).all()
