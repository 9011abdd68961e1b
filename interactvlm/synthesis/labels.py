"""From a scene and its picture to a training sample; contact that the picture hides stays labelled, as in DAMON."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.anny import load_anny
from interactvlm.datasets.sample import ContactSample, HumanContact, ObjectContact, TextAnswer
from interactvlm.objects.categories import CATEGORIES, UNSEEN_CATEGORIES, category
from interactvlm.synthesis.lens import encode
from interactvlm.synthesis.randomness import stream
from interactvlm.synthesis.render import Picture
from interactvlm.synthesis.scene import Scene
from interactvlm.synthesis.words import text_answers
from interactvlm.types import Box, Task

__all__ = ["SceneGeometry", "label", "scene_geometry"]

#: Names that are asked about although nothing of the kind is in the picture.
_ABSENT = 2
#: Worn in most pictures, as part of the clothes: never asked about unless somebody plays with one.
_CLOTHES = ("shoe", "hat", "eye glasses", "tie", "baseball glove")
#: Interactions with what carries the person's weight, by how their names begin.
_CARRIED = ("sit", "lie", "stand_on", "ski", "ride")
#: The depth map is stored at a quarter of the picture's size.
_DEPTH_STEP = 4


@dataclass(frozen=True, slots=True, eq=False)
class SceneGeometry:
    """What is known of a picture beyond contact.

    Attributes:
        masks: uint8 [H, W]: 0 background, then people, then objects, from 1 on.
        depth: uint16 [H/4, W/4], millimetres along the view, 0 where there is nothing within 65 m.
        focal: pixels; the principal point is the centre.
        rotation: float64 [3, 3], for row vectors (see `geometry.cameras`).
        translation: float64 [3], metres.
        people: how many of the masks are people.
        names: the objects' names.
        sources: how to build the objects again.
        poses: float64 [objects, 4, 4], world from object.
    """

    masks: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    focal: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    people: int
    names: tuple[str, ...]
    sources: tuple[str, ...]
    poses: NDArray[np.float64]


def label(scene: Scene, picture: Picture, *, sample_id: str, split: str) -> ContactSample:
    """One annotated photograph; random words are drawn from the scene's seed.

    Args:
        scene: what was rendered; its tags travel along.
        picture: of it.
        sample_id: unique.
        split: "train" or another; training never hears the names of unseen categories.
    """
    rng = stream(scene.seed, "questions")
    template = load_anny().template
    human, objects, texts = [_binary(scene)], [], []
    for index, placed in enumerate(scene.objects):
        ids = scene.body_contacts.get(index, np.zeros(0, np.int32))
        if not len(ids) and placed.category in _CLOTHES:
            continue
        name, damon = _asked(scene, index), category(placed.category).damon
        human.append(HumanContact(Task.SEMANTIC, name, ids, template.topology, damon))
        if not len(ids):
            continue
        heat = scene.object_contacts[index]
        objects.append(ObjectContact(name, placed.mesh, heat, placed.affordance, damon))
        touched = np.zeros(template.vertex_count, dtype=bool)
        touched[ids] = True
        texts += text_answers(scene, picture, index, name, touched, template.part_index)
    human += _absent(rng, scene, split)
    human.append(_support(scene))
    return ContactSample(
        sample_id=sample_id,
        photo=encode(stream(scene.seed, "file"), picture.image),
        person=_box(picture),
        human=tuple(human),
        objects=tuple(objects),
        texts=tuple(texts) or (_idle(),),
        tags=_tags(scene, picture, split),
    )


def scene_geometry(scene: Scene, picture: Picture) -> SceneGeometry:
    """Masks, depth, camera and poses of a picture."""
    depth = picture.depth[::_DEPTH_STEP, ::_DEPTH_STEP]
    poses = [placed.pose for placed in scene.objects]
    return SceneGeometry(
        masks=(picture.labels + 1).astype(np.uint8),
        depth=np.where(depth < 65.0, depth * 1000, 0).astype(np.uint16),
        focal=picture.shot.focal,
        rotation=picture.shot.rotation,
        translation=-picture.shot.position @ picture.shot.rotation,
        people=len(scene.people),
        names=tuple(placed.name for placed in scene.objects),
        sources=tuple(placed.source for placed in scene.objects),
        poses=np.stack(poses) if poses else np.zeros((0, 4, 4)),
    )


def _binary(scene: Scene) -> HumanContact:
    return HumanContact(Task.BINARY, "", _united(scene, list(scene.body_contacts)), load_anny().template.topology)


def _support(scene: Scene) -> HumanContact:
    carrying = [i for i, placed in enumerate(scene.objects) if placed.template.startswith(_CARRIED)]
    return HumanContact(Task.SCENE, "", _united(scene, [-1, *carrying]), load_anny().template.topology)


def _united(scene: Scene, indices: list[int]) -> NDArray[np.int32]:
    sets = [scene.body_contacts[index] for index in indices if index in scene.body_contacts]
    return np.unique(np.concatenate([np.zeros(0, np.int32), *sets])).astype(np.int32)


def _asked(scene: Scene, index: int) -> str:
    """What a question calls an object: its name, or its category's where something else there goes by that name."""
    placed = scene.objects[index]
    others = {other.category for other in scene.objects} - {placed.category}
    return placed.category if any(_alike(placed.name, word) for word in _words(others)) else placed.name


def _absent(rng: np.random.Generator, scene: Scene, split: str) -> list[HumanContact]:
    """Things that are not there, by names that nothing there could be called."""
    present = _words({placed.category for placed in scene.objects})
    found: list[HumanContact] = []
    for name in rng.permutation(sorted(CATEGORIES)):
        kind = CATEGORIES[str(name)]
        words = (kind.name, *kind.synonyms)
        called = words[int(rng.integers(len(words)))] if rng.random() < 0.25 else kind.name
        hidden = kind.name in _CLOTHES or (kind.name in UNSEEN_CATEGORIES and split != "unseen")
        if hidden or kind.name in present or any(_alike(called, word) for word in present):
            continue
        empty = np.zeros(0, np.int32)
        found.append(HumanContact(Task.SEMANTIC, called, empty, load_anny().template.topology, kind.damon))
        if len(found) == _ABSENT:
            break
    return found


def _words(categories: set[str]) -> set[str]:
    """Everything that things of these categories may be called."""
    return {word for name in categories for word in (name, *category(name).synonyms)}


def _alike(one: str, other: str) -> bool:
    """Whether two names may mean the same thing ("table", "dining table")."""
    return one == other or one.split()[-1] == other.split()[-1]


def _idle() -> TextAnswer:
    return TextAnswer("interaction", "What does the person do?", "The person touches no object.")


def _box(picture: Picture) -> Box | None:
    rows, columns = np.nonzero(picture.labels == 0)
    if not len(rows):
        return None
    return Box(float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1)


def _tags(scene: Scene, picture: Picture, split: str) -> dict[str, str]:
    touched = [index for index in sorted(scene.body_contacts) if index >= 0]
    tags = {"template": "", "hand": "", "category": "", **scene.tags, "split": split, "seed": str(scene.seed)}
    tags["visible"] = f"{float(picture.visible[0]):.2f}"
    if touched:
        shown = min(float(picture.visible[len(scene.people) + index]) for index in touched)
        tags["object_visible"] = f"{shown:.2f}"
    tags["people"] = str(len(scene.people))
    tags["indoor"] = "1" if picture.setting.indoor else "0"
    if any(scene.objects[index].category in UNSEEN_CATEGORIES for index in touched):
        tags["unseen_category"] = "1"
    return tags
