from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InteractVLMError, MeshError, PhotoError
from interactvlm.geometry.cameras import HUMAN_VIEWS
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.geometry.official_object import OfficialMesh, OfficialPoints, OfficialViews
from interactvlm.geometry.pixel_maps import PixelMaps, write_pixel_maps
from interactvlm.mvloc.surfaces import (
    HumanLift,
    ObjectCamera,
    OfficialBody,
    Surface,
    SurfaceKind,
    SurfaceViews,
    body_views,
    object_cameras,
    object_identity,
    object_views,
)

NAMES = [view.name for view in HUMAN_VIEWS]


@pytest.fixture
def official(tmp_path: Path, ball_body: BodyTemplate) -> tuple[OfficialBody, SurfaceViews]:
    views = body_views(ball_body, 64)
    for name, image in zip(NAMES, views.images, strict=True):
        Image.fromarray(image).save(tmp_path / f"body_render_norm_{name}.png")
    maps = PixelMaps(np.asarray(views.ids), np.asarray(views.weights))
    write_pixel_maps(maps, tmp_path / "pixel_to_vertex_map_1024.npz", tmp_path / "bary_coords_map_1024.npz", NAMES)
    return OfficialBody(tmp_path, vertex_count=views.count), views


def test_official_files_are_the_surface_they_were_written_from(official: tuple[OfficialBody, SurfaceViews]) -> None:
    body, rendered = official
    read = body_views(body, 64)
    for name in ("images", "valid", "ids", "weights"):
        np.testing.assert_array_equal(getattr(read, name), getattr(rendered, name))
    assert (read.kind, read.count) == (SurfaceKind.BODY, rendered.count)
    assert read.identity == body_views(body, 64).identity != rendered.identity


@pytest.mark.parametrize("file", ["body_render_norm_topback.png", "bary_coords_map_1024.npz"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "text"])
def test_damaged_official_files_are_named(official: tuple[OfficialBody, SurfaceViews], file: str, damage: str) -> None:
    body, _ = official
    path = body.folder / file
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("not a picture")
    with pytest.raises(InteractVLMError, match=file):
        body_views(body, 64)


def test_render_of_another_size_is_refused(official: tuple[OfficialBody, SurfaceViews]) -> None:
    body, _ = official
    Image.new("RGB", (32, 64)).save(body.folder / "body_render_norm_topfront.png")
    with pytest.raises(PhotoError, match="32 x 64 pixels; the maps are 64 x 64"):
        body_views(body, 64)


def test_identity_tells_surfaces_and_sizes_apart(ball: Mesh, ball_body: BodyTemplate) -> None:
    moved = Mesh(ball.vertices + 1, ball.faces)
    points = PointCloud(ball.vertices)
    views = [body_views(ball_body, 32), *(object_views(t, s) for t in (ball, moved, points) for s in (32, 48))]
    assert len({view.identity for view in views}) == len(views)
    assert object_views(ball, 32).identity == views[1].identity


@pytest.mark.parametrize("points", [False, True])
def test_an_object_that_brings_its_views_is_not_rendered(ball: Mesh, points: bool) -> None:
    plain = PointCloud(ball.vertices) if points else ball
    rendered = object_views(plain, 64)
    own = OfficialViews(rendered.images[::-1], PixelMaps(np.asarray(rendered.ids), np.asarray(rendered.weights)))
    official = (
        OfficialPoints(ball.vertices, views=own) if points else OfficialMesh(ball.vertices, ball.faces, views=own)
    )
    read = object_views(official, 32)
    np.testing.assert_array_equal(read.images, rendered.images[::-1])
    np.testing.assert_array_equal(read.valid, rendered.valid[::-1])
    np.testing.assert_array_equal(read.ids, rendered.ids)
    assert (read.kind, read.count) == (rendered.kind, rendered.count)
    assert official.content_hash == plain.content_hash
    others = OfficialViews(rendered.images, own.maps)
    with_others = (
        OfficialPoints(ball.vertices, views=others) if points else OfficialMesh(ball.vertices, ball.faces, views=others)
    )
    identities = {read.identity, rendered.identity, object_identity(with_others, 64)}
    assert len(identities) == 3
    assert read.identity == object_identity(official, 64)


@pytest.mark.parametrize("points", [False, True])
def test_objects_are_seen_whole_wherever_they_are(ball: Mesh, points: bool) -> None:
    far = 1000 * ball.vertices + 5000
    views = object_views(PointCloud(far) if points else Mesh(far, ball.faces), 64)
    near = object_views(PointCloud(ball.vertices) if points else ball, 64)
    assert views.valid.any((1, 2)).all()
    # A cloud of radius 1 seen from 2 m through 60 degrees just fills the image; a mesh of extent 1 leaves a rim.
    assert points or not (views.valid[:, 0].any() or views.valid[:, :, 0].any())
    assert (views.valid != near.valid).mean() < 0.01
    # Maps and renders are of one rasteriser: what is mapped is inside the outline.
    assert views.valid[(views.ids >= 0).all(-1)].mean() > 0.99


@pytest.mark.parametrize("kind", list(SurfaceKind))
@pytest.mark.parametrize("human_lift", list(HumanLift))
def test_certain_contact_reaches_every_seen_vertex(
    ball: Mesh, ball_body: BodyTemplate, kind: SurfaceKind, human_lift: HumanLift
) -> None:
    target = PointCloud(ball.vertices) if kind is SurfaceKind.OBJECT_POINTS else ball
    views = body_views(ball_body, 64) if kind is SurfaceKind.BODY else object_views(target, 64)
    surface = Surface.prepare(views, torch.zeros(4, 1, 4, 4), human_lift=human_lift, device=torch.device("cpu"))
    seen = np.isin(np.arange(views.count), views.ids)
    everywhere = surface.lift(torch.full((1, 4, 16, 16), 30.0))[0].numpy()
    nowhere = surface.lift(torch.full((1, 4, 16, 16), -30.0))[0].numpy()
    assert seen.sum() > views.count / 2
    if kind is SurfaceKind.BODY and human_lift is HumanLift.HARD:
        assert set(np.unique(everywhere)) <= {0, 1}
    else:
        np.testing.assert_allclose(everywhere[seen], 1, atol=1e-4)
    assert everywhere[~seen].sum() == 0
    assert nowhere.max() < 1e-4


def test_distance_that_conditions_an_object() -> None:
    demo, rendered = (object_cameras(SurfaceKind.OBJECT_MESH, camera) for camera in ObjectCamera)
    np.testing.assert_allclose(demo[:, 0], 0.2)
    np.testing.assert_allclose(rendered[:, 0], 0.15)
    np.testing.assert_array_equal(demo[:, 1:], rendered[:, 1:])
    for camera in ObjectCamera:  # point clouds are rendered from 2 m and conditioned so
        np.testing.assert_array_equal(object_cameras(SurfaceKind.OBJECT_POINTS, camera), demo)


def test_object_without_extent_is_refused() -> None:
    with pytest.raises(MeshError, match="coincide"):
        object_views(PointCloud(np.zeros((3, 3), dtype=np.float32)), 32)
