import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from interactvlm.body.anny import load_anny
from interactvlm.synthesis.render import render
from tests.synthesis.star_scene import star_scene

SEEDS = (3, 4)


@pytest.fixture(scope="module", params=SEEDS)
def shown(request):
    scene = star_scene(request.param)
    return scene, render(scene)


def cast(origin, directions, vertices, faces):
    """Nearest distance along each ray, inf where it misses: Moeller and Trumbore, nothing shared with the renderer."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    found = []
    for direction in directions:
        p = np.cross(direction, c - a)
        determinant = ((b - a) * p).sum(1)
        safe = np.where(np.abs(determinant) < 1e-14, np.inf, determinant)
        u = ((origin - a) * p).sum(1) / safe
        q = np.cross(origin - a, b - a)
        v = (q @ direction) / safe
        t = ((c - a) * q).sum(1) / safe
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & np.isfinite(safe)
        found.append(t[hit].min() if hit.any() else np.inf)
    return np.array(found)


def rays(shot, pixels):
    height, width = shot.size
    view = np.stack(
        [(width / 2 - pixels[:, 1] - 0.5), (height / 2 - pixels[:, 0] - 0.5), np.full(len(pixels), shot.focal)], axis=1
    )
    return view / shot.focal @ shot.rotation.T


def inner_pixels(mask, count=25):
    pixels = np.argwhere(binary_erosion(mask, iterations=3))
    return pixels[np.linspace(0, len(pixels) - 1, count).astype(int)] if len(pixels) else pixels


def test_masks_and_depth_of_objects_agree_with_a_ray_caster(shown):
    scene, picture = shown
    checked = 0
    for index, placed in enumerate(scene.objects):
        pixels = inner_pixels(picture.labels == len(scene.people) + index)
        if not len(pixels):
            continue
        depth = cast(picture.shot.position, rays(picture.shot, pixels), placed.world_vertices(), placed.mesh.faces)
        # Depth is sampled a quarter of a pixel off the centre.
        np.testing.assert_allclose(picture.depth[tuple(pixels.T)], depth, rtol=0.02)
        checked += 1
    assert checked


def test_the_person_is_where_the_bare_body_is(shown):
    scene, picture = shown
    pixels = inner_pixels(picture.labels == 0)
    body = scene.people[0].vertices
    depth = cast(picture.shot.position, rays(picture.shot, pixels), body, load_anny().template.faces)
    hit = np.isfinite(depth)
    assert hit.mean() > 0.8  # clothes and hair stand off the skin
    assert np.median(np.abs(picture.depth[tuple(pixels.T)][hit] - depth[hit])) < 0.04


def test_projection_is_that_of_the_rasterisers_cameras(shown):
    scene, picture = shown
    points = scene.people[0].vertices[::500]
    screen = picture.shot.cameras().world_to_screen(points, picture.shot.size)[0]
    np.testing.assert_allclose(picture.shot.project(points)[:, :2], screen[:, :2], atol=0.05)


def test_picture_shape_and_contents(shown):
    _, picture = shown
    assert min(picture.shot.size) == 448
    assert picture.image.shape == (*picture.shot.size, 3)
    assert picture.image.dtype == np.uint8
    assert picture.image.std() > 5
    assert set(np.unique(picture.labels)) <= {-1, 0, 1, 2}
    assert picture.visible.shape == (3,)
    assert 0.4 < picture.visible[0] <= 1


def test_same_seed_same_picture_other_seed_another():
    first, second, other = render(star_scene(11)), render(star_scene(11)), render(star_scene(12))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()
