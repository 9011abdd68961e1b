"""Cameras, rasterising, shading, points against PyTorch3D's numbers in render/; maps of body/ and object_mesh/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interactvlm.geometry.cameras import (
    HUMAN_VIEWS,
    OBJECT_DISTANCE_RENDERED,
    OBJECT_VIEWS,
    FoVCameras,
    PixelCameras,
    View,
    at_distance,
    look_at,
)
from interactvlm.geometry.colours import nocs_colours, normal_colours, to_uint8
from interactvlm.geometry.load import load_mesh
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.geometry.pixel_maps import pixel_maps
from interactvlm.geometry.point_render import POINT_RADIUS, render_points
from interactvlm.geometry.rasterizer import Fragments, available_backends, rasterize
from interactvlm.geometry.shading import shade

Arrays = dict[str, np.ndarray]

#: PyTorch3D keeps NDC in float32 (spacing 6e-8). Below this many pixels of area a face's own barycentric weights are
#: noisy there, in inverse proportion; the tolerance of 1e-4 is widened by as much.
SMALLEST_EXACT_FACE = 0.1


@pytest.fixture(scope="module")
def recorded(golden: Path) -> Arrays:
    return dict(np.load(golden / "render" / "cameras.npz"))


@pytest.fixture(scope="module")
def raster(only: Callable[[str], Path]) -> Arrays:
    return dict(np.load(only("render/raster_*.npz")))


@pytest.fixture(scope="module")
def views(recorded: Arrays) -> list[View]:
    rows = zip(recorded["names"], recorded["params"], strict=True)
    return [View(str(name), *(float(value) for value in row)) for name, row in rows]


@pytest.fixture(scope="module")
def cameras(recorded: Arrays) -> FoVCameras:
    return FoVCameras(R=recorded["R"], T=recorded["T"])


def test_view_sets_are_the_recorded_ones(views: list[View]) -> None:
    for recorded_view, ours in zip(views[:8], HUMAN_VIEWS + OBJECT_VIEWS, strict=True):
        assert recorded_view.name == ours.name
        for field in ("distance", "elevation", "azimuth", "shift_x", "shift_y"):
            assert getattr(recorded_view, field) == pytest.approx(getattr(ours, field), abs=1e-6)


def test_look_at(recorded: Arrays, views: list[View]) -> None:
    ours = look_at(views)
    np.testing.assert_allclose(ours.R, recorded["R"], atol=1e-6)
    np.testing.assert_allclose(ours.T, recorded["T"], atol=1e-6)
    np.testing.assert_allclose(ours.center, recorded["center"], atol=2e-6)
    np.testing.assert_allclose(ours.projection, recorded["projection"], atol=1e-6)


def test_transforms(recorded: Arrays, cameras: FoVCameras) -> None:
    points = recorded["points"]
    view = cameras.world_to_view(points)
    np.testing.assert_allclose(view, recorded["view"], atol=2e-6)
    names = [name for name in recorded if name.startswith("screen_")]
    sizes = {name: [int(side) for side in name.removeprefix("screen_").split("x")] for name in names}
    assert {len(sides) for sides in sizes.values()} == {1, 2}
    for name, sides in sizes.items():
        height, width = sides[0], sides[-1]
        ndc = cameras.view_to_ndc(view, (height, width))
        if height == width:
            np.testing.assert_allclose(ndc, recorded["ndc"], atol=5e-6)
        np.testing.assert_allclose(cameras.ndc_to_screen(ndc, (height, width)), recorded[name], atol=2e-4)
        np.testing.assert_allclose(cameras.world_to_screen(points, (height, width)), recorded[name], atol=2e-4)


def test_projection_matrix_gives_ndc(recorded: Arrays, cameras: FoVCameras) -> None:
    view = cameras.world_to_view(recorded["points"])
    homogeneous = np.concatenate([view, np.ones_like(view[..., :1])], axis=-1) @ cameras.projection
    np.testing.assert_allclose(homogeneous[..., :3] / homogeneous[..., 3:], recorded["ndc"], atol=5e-6)


def test_pixel_camera(recorded: Arrays) -> None:
    camera = PixelCameras.of_photo(recorded["pixel_focal"], recorded["pixel_principal"])
    height, width = (int(side) for side in recorded["pixel_image_hw"])
    screen = camera.world_to_screen(recorded["pixel_points"], (height, width))[0]
    np.testing.assert_allclose(screen, recorded["pixel_screen"], atol=2e-4)


def test_vertex_normals(raster: Arrays) -> None:
    mesh = Mesh(raster["vertices"], raster["faces"])
    np.testing.assert_allclose(mesh.vertex_normals, raster["vertex_normals"], atol=1e-5)


@pytest.mark.parametrize("backend", available_backends())
def test_rasterize(raster: Arrays, views: list[View], cameras: FoVCameras, backend: str) -> None:
    mesh = Mesh(raster["vertices"], raster["faces"])
    size = raster[f"{views[0].name}_face"].shape
    fragments = rasterize(mesh, cameras, size, backend=backend)
    screen = cameras.world_to_screen(mesh.vertices, size)[..., :2].astype(np.float64)
    for j, view in enumerate(views):
        expected = raster[f"{view.name}_face"]
        found = fragments.face_ids[j]
        covered = expected >= 0
        assert covered.any()
        assert ((found >= 0) != covered).sum() <= 0.002 * covered.sum()
        assert (found != expected).sum() <= 0.002 * covered.sum()
        same = covered & (found == expected)
        a, b, c = (screen[j, mesh.faces[expected[same], corner]] for corner in range(3))
        area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
        tolerance = 1e-4 * np.maximum(1, SMALLEST_EXACT_FACE / area)
        error = np.abs(fragments.barycentric[j] - raster[f"{view.name}_bary"])[same].max(axis=-1)
        assert (error <= tolerance).all(), f"{view.name}: {error.max()}"
        assert np.abs(fragments.depth[j] - raster[f"{view.name}_depth"])[same].max() <= 1e-4
        assert (fragments.depth[j][found < 0] == -1).all()
        assert (fragments.barycentric[j][found < 0] == -1).all()


@pytest.mark.parametrize(("paint", "view_set"), [("normal", HUMAN_VIEWS), ("nocs", OBJECT_VIEWS)])
def test_shading(only: Callable[[str], Path], raster: Arrays, paint: str, view_set: tuple[View, ...]) -> None:
    shaded = np.load(only("render/shaded_*.npz"))
    mesh = Mesh(raster["vertices"], raster["faces"])
    colours = normal_colours(mesh) if paint == "normal" else nocs_colours(mesh.vertices)
    np.testing.assert_allclose(colours, shaded[f"{paint}_colours"], atol=1e-5)
    cameras = look_at(view_set)
    fragments = rasterize(mesh, cameras, raster[f"{view_set[0].name}_face"].shape)
    for sign, z in (("p3", 3.0), ("m3", -3.0)):
        images = shade(mesh, colours, fragments, cameras, [(0.0, 0.0, z)] * len(view_set))
        for j, view in enumerate(view_set):
            expected = shaded[f"{paint}_{view.name}_light{sign}"].astype(np.float32)
            same = fragments.face_ids[j] == raster[f"{view.name}_face"]
            assert same.mean() > 0.999
            assert np.abs(images[j] - expected)[same].max() <= 2 / 255
            assert np.abs(to_uint8(images)[j] / 255 - expected)[same].max() <= 2 / 255


def test_points(only: Callable[[str], Path]) -> None:
    recorded = np.load(only("render/points_*.npz"))
    size = recorded[f"{OBJECT_VIEWS[0].name}_depth"].shape
    cameras = look_at(OBJECT_VIEWS)
    rendered = render_points(PointCloud(recorded["points"]), recorded["colours"], cameras, size)
    ndc = cameras.view_to_ndc(cameras.world_to_view(recorded["points"]), size)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    half = min(size) / 2
    for j, view in enumerate(OBJECT_VIEWS):
        nearest = recorded[f"{view.name}_idx"][..., 0]
        assert (nearest >= 0).any()
        # A pixel centre on a disc's rim may fall to either side.
        assert (rendered.point_ids[j] != nearest).mean() <= 1e-4
        same = rendered.point_ids[j] == nearest
        assert np.abs(rendered.images[j] - recorded[f"{view.name}_image"])[same].max() <= 1e-3
        assert np.abs(rendered.depth[j] - recorded[f"{view.name}_depth"])[same].max() <= 1e-3
        hit = same & (nearest >= 0)
        centre = ndc[j, nearest[hit], :2]
        dx = (size[1] / 2 - columns[hit]) / half - centre[:, 0]
        dy = (size[0] / 2 - rows[hit]) / half - centre[:, 1]
        assert np.abs(dx**2 + dy**2 - recorded[f"{view.name}_dist2"][..., 0][hit]).max() <= 1e-3 * POINT_RADIUS**2


def _assert_same_maps(found: Fragments, mesh: Mesh, ids: list[np.ndarray], weights: list[np.ndarray]) -> None:
    maps = pixel_maps(mesh, found)
    for j, (expected, expected_weights) in enumerate(zip(ids, weights, strict=True)):
        covered = expected[..., 0] >= 0
        assert covered.any()
        assert (maps.vertex_ids[j] != expected).any(axis=-1).sum() <= 0.002 * covered.sum()
        same = covered & (maps.vertex_ids[j] == expected).all(axis=-1)
        # The recorded weights are multiples of 1/1024.
        assert np.abs(maps.weights[j] - expected_weights)[same].max() <= 1.5 / 1024


def test_body_maps(golden: Path, only: Callable[[str], Path]) -> None:
    body = np.load(golden / "body" / "mesh.npz")
    mesh = Mesh(body["vertices"], body["faces"])
    ids = np.load(only("body/pixel_to_vertex_map_*.npz"))
    weights = np.load(only("body/bary_coords_map_*.npz"))
    names = [view.name for view in HUMAN_VIEWS]
    found = rasterize(mesh, look_at(HUMAN_VIEWS), ids[names[0]].shape[:2])
    _assert_same_maps(found, mesh, [ids[name] for name in names], [weights[name] for name in names])


def test_object_mesh_maps(golden: Path, only: Callable[[str], Path]) -> None:
    mesh = load_mesh(golden / "object_mesh" / "object_mesh.obj", file_type="obj")
    files = [np.load(only(f"object_mesh/p2vmap_{view.name}_*.npz")) for view in OBJECT_VIEWS]
    assert all(int(file["num_vertices"]) == len(mesh.vertices) for file in files)
    ids = [file["pixel_to_vertices_map"] for file in files]
    found = rasterize(mesh, look_at(at_distance(OBJECT_VIEWS, OBJECT_DISTANCE_RENDERED)), ids[0].shape[:2])
    _assert_same_maps(found, mesh, ids, [file["bary_coords_map"] for file in files])


def test_centring_leaves_the_recorded_objects_as_they_are(golden: Path) -> None:
    mesh = load_mesh(golden / "object_mesh" / "object_mesh.obj", file_type="obj")
    np.testing.assert_allclose(mesh.centred().vertices, mesh.vertices, atol=2e-5)
    points = PointCloud(np.load(golden / "object_points" / "points.npz")["xyz"])
    np.testing.assert_allclose(points.centred().xyz, points.xyz, atol=2e-5)
