import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from interactvlm.body.anny import load_anny
from interactvlm.body.parts import PART_NAMES, parts_in_contact
from interactvlm.objects.categories import CATEGORIES, UNSEEN_CATEGORIES, category
from interactvlm.synthesis.labels import label, scene_geometry
from interactvlm.synthesis.render import render
from interactvlm.types import Task
from tests.synthesis.star_scene import box, star_scene


@pytest.fixture(scope="module")
def scene():
    return star_scene(21)


@pytest.fixture(scope="module")
def picture(scene):
    return render(scene)


@pytest.fixture(scope="module")
def sample(scene, picture):
    return label(scene, picture, sample_id="synthetic-train-0000000021", split="train")


def semantic(sample):
    return {contact.object_name: contact.vertex_ids for contact in sample.human if contact.task is Task.SEMANTIC}


def test_vertices_come_straight_from_the_scene(scene, sample):
    np.testing.assert_array_equal(semantic(sample)["bottle"], scene.body_contacts[0])
    assert len(semantic(sample)["chair"]) == 0
    (binary,) = (contact for contact in sample.human if contact.task is Task.BINARY)
    (support,) = (contact for contact in sample.human if contact.task is Task.SCENE)
    np.testing.assert_array_equal(binary.vertex_ids, np.union1d(scene.body_contacts[0], scene.body_contacts[-1]))
    np.testing.assert_array_equal(support.vertex_ids, scene.body_contacts[-1])
    assert {contact.topology for contact in sample.human} == {load_anny().template.topology}


def test_what_carries_the_person_counts_as_scene(scene, picture):
    held = replace(scene.objects[0], template="sit")
    seated = replace(scene, objects=(held, scene.objects[1]))
    (support,) = (c for c in label(seated, picture, sample_id="x", split="train").human if c.task is Task.SCENE)
    assert set(scene.body_contacts[0]) <= set(support.vertex_ids)


def test_what_is_held_up_is_not_the_scene(scene, picture):
    tray = replace(scene.objects[0], affordance="support")
    held = replace(scene, objects=(tray, scene.objects[1]))
    sample = label(held, picture, sample_id="x", split="train")
    (support,) = (contact for contact in sample.human if contact.task is Task.SCENE)
    np.testing.assert_array_equal(support.vertex_ids, scene.body_contacts[-1])
    assert "holding" in {text.field: text.answer for text in sample.texts}["interaction"]


@pytest.mark.parametrize("seed", range(6))
def test_absent_things_are_asked_about_and_are_not_there(scene, picture, seed):
    asked = semantic(label(replace(scene, seed=seed), picture, sample_id="x", split="train"))
    absent = [name for name in asked if name not in ("bottle", "chair")]
    assert len(absent) == 2
    for name in absent:
        assert len(asked[name]) == 0
        assert category(name).name not in {"bottle", "chair", *UNSEEN_CATEGORIES}


def test_two_things_of_one_name_are_told_apart(scene, picture):
    shared = next(
        (one.name, other.name, word)
        for one in CATEGORIES.values()
        for other in CATEGORIES.values()
        for word in one.synonyms
        if one is not other and word in other.synonyms
    )
    first, second, word = shared
    things = (
        replace(scene.objects[0], category=first, name=word),
        replace(box((0.2, 0.2, 0.2), (1, 0, 1), second), name=word),
    )
    names = [c.object_name for c in label(replace(scene, objects=things), picture, sample_id="x", split="train").human]
    assert first in names
    assert second in names


def test_words_match_the_vertices(scene, sample):
    part_index = load_anny().template.part_index
    touched = np.zeros(len(part_index), dtype=bool)
    touched[scene.body_contacts[0]] = True
    parts = parts_in_contact(touched, part_index)
    texts = {text.field: text for text in sample.texts}
    assert list(texts) == ["person", "body parts", "interaction", "object", "object parts"]
    said = texts["body parts"].answer.lower()
    assert parts == ("right hand",)
    assert [name for name in PART_NAMES if name in said] == list(parts)
    assert "bottle" in texts["interaction"].answer
    assert "holding" in texts["interaction"].answer


def test_heat_lies_on_the_object_that_is_touched(scene, sample):
    (item,) = sample.objects
    assert item.surface is scene.objects[0].mesh
    np.testing.assert_array_equal(item.values, scene.object_contacts[0])
    assert (item.object_name, item.affordance, item.category) == ("bottle", "grasp", "bottle")


def test_the_box_is_the_persons(picture, sample):
    rows, columns = np.nonzero(picture.labels == 0)
    assert sample.person.left == columns.min()
    assert sample.person.bottom == rows.max() + 1


def test_no_truth_in_what_a_model_is_given(sample):
    with Image.open(io.BytesIO(sample.photo)) as photo:
        assert not photo.getexif()
        assert "comment" not in photo.info
    for word in ("hold", "right", "bottle", *sample.tags["template"].split()):
        assert word not in sample.sample_id
        assert word.encode() not in sample.photo


def test_geometry_describes_the_picture(scene, picture):
    geometry = scene_geometry(scene, picture)
    np.testing.assert_array_equal(geometry.masks.astype(int) - 1, picture.labels)
    view = scene.people[0].vertices @ geometry.rotation + geometry.translation
    np.testing.assert_allclose(view[:, 2], picture.shot.project(scene.people[0].vertices)[:, 2], atol=1e-5)
    assert geometry.sources == ("generator/bottle/0", "generator/chair/0")
    seen = geometry.masks[::4, ::4] == 1
    np.testing.assert_allclose(geometry.depth[seen] / 1000, picture.depth[::4, ::4][seen], atol=0.002)
