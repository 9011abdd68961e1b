from __future__ import annotations

import numpy as np
import trimesh

from interactvlm.body.anny import load_anny
from interactvlm.body.parts import PART_NAMES
from interactvlm.body.rig import load_rig
from interactvlm.synthesis.actor import Actor
from interactvlm.synthesis.contact import body_contact, ground_contact, object_heat, penetration
from interactvlm.synthesis.poses import SIT, STAND


def actor(pose: dict[str, float], seed: int = 0) -> Actor:
    person = Actor(load_rig().shape({"age": 2 / 3, "height": 0.4}), np.random.default_rng(seed))
    person.assume(pose, 0.4)
    return person


def test_mirrored_body_and_object_give_the_mirrored_contact():
    person = actor(dict(SIT))
    seat = trimesh.creation.box((0.5, 0.4, 0.4)).apply_translation((0.07, -0.27, 0.02))
    person.pose.place[0] += 0.03
    here = body_contact(person.vertices, np.asarray(seat.triangles))
    person.mirror()
    there = body_contact(person.vertices, np.asarray(seat.triangles) * [-1, 1, 1])
    assert len(here) > 50
    swapped = np.sort(load_anny().mirror[here])
    assert len(np.setxor1d(swapped, there)) <= 2  # vertices at the very limit


def test_standing_people_touch_the_floor_with_their_soles_alone():
    for seed in range(4):
        person = actor(dict(STAND), seed)
        assert person.stand((0.12, 0.05, 10), (-0.12, -0.05, 4)) < 0.02
        ids = ground_contact(person.vertices)
        names = {PART_NAMES[place] for place in np.unique(load_anny().template.part_index[ids])}
        assert names == {"left foot", "right foot"}
        assert len(ids) > 150


def test_penetration_is_the_depth_below_the_surface():
    box = np.asarray(trimesh.creation.box((1, 1, 1)).triangles)
    points = np.array([[0.0, 0.48, 0.0], [0.0, 0.55, 0.0], [0.0, 0.0, 0.0]])
    assert np.allclose(penetration(points, box, reach=0.1), [0.02, 0.0, 0.1])


def test_heat_is_full_under_the_contact_and_fades():
    grid = np.stack(np.meshgrid(np.linspace(-0.3, 0.3, 61), [0.0], np.linspace(-0.3, 0.3, 61)), axis=-1).reshape(-1, 3)
    body = np.array([[0.0, 0.005, 0.0], [5.0, 0.0, 0.0]])
    heat = object_heat(grid, body, np.array([0], dtype=np.int32))
    distance = np.linalg.norm(grid, axis=1)
    assert heat[distance < 0.01].min() == 1
    assert heat[distance > 0.12].max() == 0
    assert (np.diff(heat[np.argsort(distance)][:40]) <= 1e-6).all()
    assert not object_heat(grid, body, np.zeros(0, dtype=np.int32)).any()


def test_a_coarse_surface_still_gets_its_heat():
    corners = np.array([[1.0, 0, 1], [1, 0, -1], [-1, 0, 1], [-1, 0, -1]])
    heat = object_heat(corners, np.array([[0.4, 0.0, 0.5]]), np.array([0], dtype=np.int32))
    assert heat.tolist() == [1, 0, 0, 0]
