import io

import numpy as np
import pytest
from PIL import Image

from interactvlm.body.anny import load_anny
from interactvlm.body.parts import PART_NAMES
from interactvlm.geometry.mesh import Mesh
from interactvlm.synthesis import textures
from interactvlm.synthesis.appearance import dress, sample_outfit
from interactvlm.synthesis.camera import in_frame, sample_shots
from interactvlm.synthesis.clutter import sample_clutter
from interactvlm.synthesis.garments import SLOTS, slot_at
from interactvlm.synthesis.lens import develop, encode
from interactvlm.synthesis.lighting import sample_lighting
from interactvlm.synthesis.materials import COLUMNS, linear, table
from interactvlm.synthesis.noise import VOLUME, noise_at, noise_volume
from interactvlm.synthesis.randomness import stream
from interactvlm.synthesis.words import colour_name
from tests.synthesis.star_scene import star_scene


def outfit(seed, **limits):
    settings = {"indoor": True, "cold": False, "props": {"hat"}} | limits
    return sample_outfit(np.random.default_rng(seed), **settings)


@pytest.mark.parametrize("seed", range(6))
def test_clothes_stay_close_and_soles_stay_on_the_floor(seed):
    scene = star_scene(0)
    vertices = scene.people[0].vertices
    normals = Mesh(vertices, load_anny().template.faces).vertex_normals
    dressed = dress(vertices, normals, outfit(seed), np.random.default_rng(seed))
    moved = np.linalg.norm(dressed - vertices, axis=1)
    assert moved.max() < 0.12
    assert np.percentile(moved, 90) < 0.04
    assert dressed[:, 1].min() > -0.02


def test_slots_cover_what_they_say():
    template = load_anny().template
    worn = outfit(1, cold=True)
    slots = np.array(
        [
            SLOTS[slot_at(*map(float, point), int(part), worn.cut)]
            for point, part in zip(template.vertices, template.part_index, strict=True)
        ]
    )
    assert {"skin", "top", "bottom", "shoe", "sole", "hair", "lips"} <= set(slots)
    assert set(slots[template.part_index == PART_NAMES.index("left foot")]) <= {
        "shoe",
        "sole",
        "sock",
        "bottom",
        "skin",
    }
    assert len(worn.materials) == len(SLOTS)
    assert table(worn.materials).shape == (len(SLOTS), COLUMNS)


def test_clothes_are_the_same_on_both_sides():
    template, mirror = load_anny().template, load_anny().mirror
    cut = outfit(2).cut
    ids = np.arange(0, template.vertex_count, 37)
    for vertex in ids:
        x, y, z = map(float, template.vertices[vertex])
        part, partner = int(template.part_index[vertex]), int(template.part_index[mirror[vertex]])
        assert slot_at(x, y, z, part, cut) == slot_at(-x, y, z, partner, cut)


@pytest.mark.parametrize("kind", [*textures.GROUNDS_INDOOR, *textures.GROUNDS_OUTDOOR])
def test_grounds(kind):
    square = textures.ground(np.random.default_rng(1), kind)
    assert square.shape == (textures.SIDE, textures.SIDE, 3)
    assert square.dtype == np.float32
    assert np.isfinite(square).all()
    assert square.min() > 0
    assert square.std() > 0.001


@pytest.mark.parametrize("seed", range(8))
def test_walls_and_backdrops(seed):
    rng = np.random.default_rng(seed)
    for square in (textures.wall(rng, indoor=bool(seed % 2)), textures.backdrop(rng, snow=bool(seed % 3))):
        assert square.shape == (textures.SIDE, textures.SIDE, 3)
        assert square.dtype == np.float32
        assert square.min() > 0
        assert square.max() <= 1.2


def test_cameras_show_most_of_the_person_first():
    scene = star_scene(5)
    best = sample_shots(stream(5, "camera"), scene)[0]
    assert 25 <= best.fov <= 75
    assert in_frame(best, scene.people[0].vertices).mean() > 0.5
    np.testing.assert_allclose(best.rotation @ best.rotation.T, np.eye(3), atol=1e-9)
    assert best.position[1] > 0


@pytest.mark.parametrize("indoor", [True, False])
def test_clutter_touches_nothing(indoor):
    points = star_scene(0).people[0].vertices
    centre = (points[:, [0, 2]].min(axis=0) + points[:, [0, 2]].max(axis=0)) / 2
    radius = np.linalg.norm(points[:, [0, 2]] - centre, axis=1).max()
    pieces = []
    for seed in range(8):
        camera, forward = np.array([0.0, 1.5, 4.0]), np.array([0.0, 0.0, -1.0])
        rng = np.random.default_rng(seed)
        for thing in sample_clutter(rng, taken=points, camera=camera, forward=forward, indoor=indoor):
            pieces += thing
    assert pieces
    for piece in pieces:
        standing = piece.vertices[piece.vertices[:, 1] < 2.0]
        if len(standing):
            assert np.linalg.norm(standing[:, [0, 2]] - centre, axis=1).min() > radius


def test_lights_are_directions_and_not_black():
    for seed in range(20):
        light = sample_lighting(np.random.default_rng(seed), indoor=bool(seed % 2), view=np.array([0.0, 0.0, -1.0]))
        assert np.linalg.norm(light.key) == pytest.approx(1, abs=1e-5)
        assert (light.above > 0).all()
        assert (light.key_colour > 0).all()


def test_the_lens_keeps_the_size_and_writes_no_metadata():
    labels = np.zeros((60, 90), np.int16)
    depth = np.full((60, 90), 3, np.float32)
    light = np.random.default_rng(0).random((60, 90, 3), dtype=np.float32)
    for seed in range(12):
        image = develop(np.random.default_rng(seed), light, depth, labels)
        assert image.shape == (60, 90, 3)
        assert image.dtype == np.uint8
    with Image.open(io.BytesIO(encode(np.random.default_rng(0), image))) as photo:
        assert photo.size == (90, 60)
        assert not photo.getexif()
        assert set(photo.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_noise_is_periodic_and_continuous():
    volume = noise_volume()
    assert noise_at(volume, 1.25, 2.5, 3.75) == pytest.approx(
        noise_at(volume, 1.25 + VOLUME, 2.5 - VOLUME, 3.75), abs=1e-4
    )
    assert noise_at(volume, 4.0, 5.0, 6.0) == pytest.approx(float(volume[4, 5, 6]), abs=1e-6)
    assert abs(noise_at(volume, 9.999, 1, 1) - noise_at(volume, 10.001, 1, 1)) < 0.05


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((255, 255, 255), "white"),
        ((10, 10, 12), "black"),
        ((130, 130, 130), "grey"),
        ((220, 20, 20), "red"),
        ((20, 40, 200), "blue"),
        ((30, 160, 40), "green"),
        ((240, 230, 40), "yellow"),
        ((110, 70, 40), "brown"),
    ],
)
def test_colours_have_everyday_names(colour, name):
    assert colour_name(np.array(colour) / 255) == name


def test_streams_are_apart():
    assert stream(1, "camera").random() == stream(1, "camera").random()
    assert len({stream(seed, name).random() for seed in range(3) for name in ("camera", "light")}) == 6
    assert linear((1.0, 1.0, 1.0)).tolist() == [1.0, 1.0, 1.0]
