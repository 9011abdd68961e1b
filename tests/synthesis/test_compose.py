from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import numpy as np
import pytest

from interactvlm.body.anny import load_anny
from interactvlm.body.articulation import load_articulation
from interactvlm.body.parts import PART_NAMES
from interactvlm.body.rig import load_rig, to_world_axes
from interactvlm.errors import InputError
from interactvlm.geometry.proximity import surface_distances
from interactvlm.objects.categories import UNSEEN_CATEGORIES
from interactvlm.objects.instances import instances
from interactvlm.synthesis.compose import SPLITS, _draw, build_scene
from interactvlm.synthesis.contact import penetration
from interactvlm.synthesis.scene import Scene
from interactvlm.synthesis.templates import TEMPLATES

PART = load_anny().template.part_index
SEEDS = range(12)


@cache
def scene(seed: int, split: str = "train") -> Scene:
    return build_scene(seed, split=split)


def triangles(placed) -> np.ndarray:
    return placed.world_vertices().astype(np.float64)[placed.mesh.faces]


def parts(ids: np.ndarray) -> set[str]:
    return {PART_NAMES[place] for place in np.unique(PART[ids])}


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_follow_from_geometry(seed: int):
    made = scene(seed)
    body = made.people[0].vertices.astype(np.float64)
    for place, placed in enumerate(made.objects):
        surface = triangles(placed)
        ids = made.body_contacts.get(place)
        if ids is None:
            assert placed.template == placed.affordance == ""
            assert place not in made.object_contacts
            assert surface_distances(body, surface, 0.01).min() > 0.0099  # nobody touches it
            continue
        assert placed.template
        assert placed.affordance
        assert ids.dtype == np.int32
        assert (np.diff(ids) > 0).all()
        heat = made.object_contacts[place]
        assert heat.shape == (len(placed.mesh.vertices),)
        assert heat.max() > 0.5
        assert 0 <= heat.min() <= heat.max() <= 1
        assert penetration(body[ids], surface).max() <= 0.08
    ground = made.body_contacts.get(-1, np.zeros(0, np.int32))
    assert (ground == np.flatnonzero(body[:, 1] <= 0.01)).all() or len(ground) == 0
    assert body[:, 1].min() > -0.021


@pytest.mark.parametrize("seed", SEEDS)
def test_people_keep_their_distance_from_what_they_do_not_touch(seed: int):
    made = scene(seed)
    for place, placed in enumerate(made.objects):
        for person in made.people[1:]:
            assert np.isinf(surface_distances(person.vertices.astype(np.float64), triangles(placed), 0.02)).all(), place
        if placed.template == "" and placed.affordance == "":
            assert place not in made.body_contacts


@pytest.mark.parametrize("seed", SEEDS)
def test_poses_can_be_posed_again_and_respect_the_hinges(seed: int):
    rig, articulation = load_rig(), load_articulation()
    for person in scene(seed).people:
        rotations = np.zeros((len(rig.bone_names), 3))
        for name, vector in person.pose.items():
            rotations[rig.index[name]] = vector
        rotations = to_world_axes(rotations)
        body = rig.shape(person.phenotype)
        turns, heads = body.frames(rotations, person.joints[0].astype(np.float64))
        assert np.abs(heads - person.joints).max() < 1e-4
        assert np.abs(body.vertices(turns, heads) - person.vertices).max() < 1e-4
        for name in ("knee.L", "knee.R", "elbow.L", "elbow.R"):
            place = articulation.names.index(name)
            bone = rig.index[{"knee": "lowerleg01", "elbow": "lowerarm01"}[name[:-2]] + name[-2:]]
            angle = rotations[bone] @ articulation.weights[place, bone]
            assert articulation.low[place] - 1e-6 <= angle <= articulation.high[place] + 1e-6


def test_the_same_seed_makes_the_same_scene_in_another_process():
    code = (
        "from interactvlm.synthesis.compose import build_scene\n"
        "import hashlib\n"
        "made = build_scene(5, split='train')\n"
        "print(hashlib.sha256(made.people[0].vertices.tobytes() + b''.join(v.tobytes() for v in "
        "made.body_contacts.values()) + repr([(o.source, o.name, o.pose.tolist()) for o in made.objects]).encode())"
        ".hexdigest())\n"
    )
    here = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    there = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}
    found = {
        subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout
        for env in (here, there)
    }
    assert len(found) == 1
    assert len(found.pop()) == 65


def test_splits_share_no_instance_and_unseen_categories_are_unseen():
    for split in SPLITS:
        made = [scene(seed, split) for seed in range(3)]
        for one in made:
            assert one.tags["split"] == split
            main = one.tags["category"]
            assert (main in UNSEEN_CATEGORIES) == (split == "unseen") or not main
            for placed in one.objects:
                assert placed.source in instances(placed.category, "train" if split == "train" else "heldout")
                assert split == "unseen" or placed.category not in UNSEEN_CATEGORIES


def test_left_and_right_are_drawn_fairly():
    drawn = [_draw(np.random.default_rng(seed), "train", "", "", "") for seed in range(3000)]
    sides = Counter(hand for _, _, hand in drawn)
    assert 0.46 < sides["left"] / (sides["left"] + sides["right"]) < 0.54
    per_category = Counter((category, hand) for template, category, hand in drawn if template.name == "hold")
    assert len({category for category, _ in per_category}) > 20
    assert {template.name for template, _, _ in drawn} >= {one.name for one in TEMPLATES} - {"push"}


@pytest.mark.parametrize("hand", ["left", "right"])
@pytest.mark.parametrize("category", ["cup", "tennis racket", "handbag", "cell phone"])
def test_one_handed_scenes_touch_with_that_hand_alone(hand: str, category: str):
    made = build_scene(3, split="train", template="hold", category=category, hand=hand)
    other = "right" if hand == "left" else "left"
    assert made.objects[0].category == category
    assert made.tags["hand"] == hand
    touched = parts(made.body_contacts[0])
    assert f"{hand} hand" in touched
    assert f"{other} hand" not in touched
    assert f"hold_{hand}" == made.objects[0].template


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("sit", {"hips"}),
        ("lie", {"torso"}),
        ("stand_on", {"left foot", "right foot"}),
        ("ski", {"left foot", "right foot"}),
        ("ride", {"left hand", "right hand"}),
        ("hold_both", {"left hand", "right hand"}),
        ("type", {"left hand", "right hand"}),
        ("carry_back", {"torso"}),
        ("wear_head", {"head"}),
        ("wear_neck", {"torso"}),
        ("wear_feet", {"left foot", "right foot"}),
    ],
)
def test_templates_touch_the_parts_they_mean(template: str, wanted: set[str]):
    made = build_scene(1, split="train", template=template)
    assert wanted <= parts(made.body_contacts[0])
    assert made.tags["template"] == template


def test_nobody_touches_anything_without_contact():
    made = build_scene(2, split="train", template="no_contact")
    assert made.objects
    assert set(made.body_contacts) == {-1}
    assert parts(made.body_contacts[-1]) == {"left foot", "right foot"}
    assert not made.object_contacts


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"split": "test"}, "split"),
        ({"split": "train", "template": "fly"}, "template"),
        ({"split": "train", "template": "sit", "category": "cup"}, "category"),
        ({"split": "train", "category": "suitcase"}, "category"),
    ],
)
def test_what_cannot_be_played_is_named(options: dict[str, str], named: str):
    with pytest.raises(InputError, match=named):
        build_scene(0, **options)
