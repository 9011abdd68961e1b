"""One seed, one scene: draw an interaction, play it until it works out, put things around it, label what touches."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.anny import load_anny
from interactvlm.body.parts import PART_NAMES
from interactvlm.errors import InputError
from interactvlm.objects.anchors import ObjectModel, object_for
from interactvlm.objects.categories import CATEGORIES, UNSEEN_CATEGORIES
from interactvlm.objects.categories import category as find_category
from interactvlm.objects.instances import instances
from interactvlm.synthesis.actor import Actor
from interactvlm.synthesis.bodies import draw_body
from interactvlm.synthesis.contact import (
    CONTACT_DISTANCE,
    SOFT_DISTANCE,
    body_contact,
    ground_contact,
    object_heat,
    penetration,
)
from interactvlm.synthesis.scene import Scene
from interactvlm.synthesis.stage import Fetch, Missed, Stage, stable_seed
from interactvlm.synthesis.surroundings import add_bystander, add_distractors
from interactvlm.synthesis.templates import TEMPLATES, Template

__all__ = ["SPLITS", "build_scene"]

Array = NDArray[np.float64]

SPLITS: tuple[str, ...] = ("train", "heldout", "unseen")
"""Train; the same categories with other instances, bodies and seeds; categories that training never shows."""

_THROWS = 8  # of the same interaction, before another one is drawn
_DRAWS = 12
_LEAST = 8  # vertices of a part that must touch, to count as touching


def build_scene(seed: int, *, split: str, template: str = "", category: str = "", hand: str = "") -> Scene:
    """The scene of a seed: the same on every machine, whatever else was built before.

    Args:
        seed: any integer >= 0; scenes of different splits share none of their dice.
        split: one of SPLITS.
        template: play this one instead of a drawn one ("sit").
        category: with this main object instead of a drawn one.
        hand: "left", "right" or "both" instead of a drawn one, where the template has hands.

    Raises:
        InputError: for an unknown split or template, or an interaction that never works out.
    """
    if split not in SPLITS:
        raise InputError("split", f"{split!r} is none of {', '.join(SPLITS)}")
    known = [one.name for one in TEMPLATES]
    if template and template not in known:
        raise InputError("template", f"{template!r} is none of {', '.join(known)}")
    fetch = _fetcher(split)
    for draw in range(_DRAWS):
        rng = np.random.default_rng([seed, stable_seed("scene", split), draw])
        played, drawn, side = _draw(rng, split, template, category, hand)
        for throw in range(_THROWS):
            stage_rng = np.random.default_rng([seed, stable_seed("stage", split), draw, throw])
            stage = Stage(Actor(draw_body(stage_rng, adult=played.name == "ride"), stage_rng), stage_rng, fetch)
            try:
                played.play(stage, drawn, side)
                contacts = _contacts(stage, played, side)
            except Missed:
                continue
            stage.tags = {"template": played.name, "hand": side, "category": drawn, "split": split, **stage.tags}
            if drawn in UNSEEN_CATEGORIES:
                stage.tags["unseen_category"] = "1"
            return _finish(stage, contacts, seed, split)
    raise InputError("template", f"{template or 'every one'} failed {_DRAWS * _THROWS} times with seed {seed}")


def _draw(rng: np.random.Generator, split: str, template: str, category: str, hand: str) -> tuple[Template, str, str]:
    """A template, a category and a hand; the hand is drawn last and fairly."""
    usable = []
    for one in TEMPLATES:
        if template and one.name != template:
            continue
        categories = [name for name in one.categories if _allowed(name, split, one.needs)]
        if category:
            categories = [name for name in categories if name == category]
        if categories or (not one.categories and split != "unseen" and not category):
            usable.append((one, categories))
    if not usable:
        raise InputError("category", f"no template plays {category or 'anything'!r} in the split {split!r}")
    shares = np.array([one.share for one, _ in usable])
    played, categories = usable[int(rng.choice(len(usable), p=shares / shares.sum()))]
    drawn = categories[int(rng.integers(len(categories)))] if categories else ""
    sides = [side for side in played.hands if not hand or side == hand] or list(played.hands)
    return played, drawn, sides[int(rng.integers(len(sides)))]


@cache
def _allowed(name: str, split: str, needs: tuple[str, ...]) -> bool:
    """Whether a category may be the main object of a split: present, seen or unseen as it should be, and fit for it."""
    if (name in UNSEEN_CATEGORIES) != (split == "unseen"):
        return False
    some = _sources(name, split)[:4]
    return any(all(anchor in object_for(source).anchors for anchor in needs) for source in some)


@cache
def _sources(name: str, split: str) -> tuple[str, ...]:
    """Instances of a category that a split may show."""
    if name not in CATEGORIES or (name in UNSEEN_CATEGORIES and split != "unseen"):
        return ()
    return instances(name, "train" if split == "train" else "heldout")


def _fetcher(split: str) -> Fetch:
    """Where a stage gets its objects: instances of this split only, and no unseen category in training."""

    def fetch(name: str, rng: np.random.Generator) -> ObjectModel | None:
        sources = _sources(name, split)
        return object_for(sources[int(rng.integers(len(sources)))]) if sources else None

    return fetch


def _contacts(stage: Stage, played: Template, hand: str) -> list[NDArray[np.int32]]:
    """Which body vertices touch each prop, after checking that it is what the template means.

    Raises:
        Missed: a part that should touch does not, another does, or something is pierced.
    """
    vertices = stage.actor.vertices
    part_index = load_anny().template.part_index
    touching, only = played.touching(hand), played.only(hand)
    found = []
    for place, prop in enumerate(stage.props):
        distance = SOFT_DISTANCE if place in stage.soft else CONTACT_DISTANCE
        contact = body_contact(vertices, prop.triangles, distance)
        counts = np.bincount(part_index[contact], minlength=len(PART_NAMES))
        for group in touching.get(place, ()):
            if max(counts[PART_NAMES.index(part)] for part in group) < _LEAST:
                raise Missed(f"no {' or '.join(group)} at the {prop.model.category}")
        if place in only:
            strangers = [p for k, p in enumerate(PART_NAMES) if counts[k] and p not in only[place]]
            if strangers:
                raise Missed(f"{', '.join(strangers)} at the {prop.model.category}")
        if len(contact) and penetration(vertices[contact], prop.triangles).max() > played.deepest:
            raise Missed(f"inside the {prop.model.category}")
        if prop.vertices[:, 1].min() < -0.02:
            raise Missed(f"the {prop.model.category} is in the floor")
        found.append(contact)
    if vertices[:, 1].min() < -0.02:
        raise Missed("the body is in the floor")
    return found


def _finish(stage: Stage, contacts: list[NDArray[np.int32]], seed: int, split: str) -> Scene:
    rng = np.random.default_rng([seed, stable_seed("around", split)])
    actor, vertices = stage.actor, stage.actor.vertices
    bystanders = add_bystander(stage, rng)
    distractors = add_distractors(stage, rng, _fetcher(split), _names(split), bystanders)
    props = [*stage.props, *distractors]
    world = _heading(rng)
    names = _call(rng, [prop.model.category for prop in props])
    body_contacts: dict[int, NDArray[np.int32]] = {}
    object_contacts: dict[int, NDArray[np.float32]] = {}
    for place, contact in enumerate(contacts):
        if not len(contact):
            stage.props[place].template = stage.props[place].affordance = ""
        else:
            body_contacts[place] = contact
            object_contacts[place] = object_heat(stage.props[place].vertices, vertices, contact)
    ground = ground_contact(vertices)
    if len(ground):
        body_contacts[-1] = ground
    return Scene(
        seed=seed,
        people=(actor.posed(world), *(other.posed(world) for other in bystanders)),
        objects=tuple(prop.placed(world, name) for prop, name in zip(props, names, strict=True)),
        body_contacts=body_contacts,
        object_contacts=object_contacts,
        tags=stage.tags,
    )


@cache
def _names(split: str) -> tuple[str, ...]:
    """Categories that may lie around in a split."""
    return tuple(name for name in CATEGORIES if _sources(name, split))


def _call(rng: np.random.Generator, categories: list[str]) -> list[str]:
    """What each object is called: its category, at times an everyday synonym."""
    called = []
    for name in categories:
        synonyms = find_category(name).synonyms
        synonym = synonyms[int(rng.integers(len(synonyms)))] if synonyms else name
        called.append(synonym if rng.random() < 0.25 else name)
    return called


def _heading(rng: np.random.Generator) -> Array:
    """The whole scene turned about the vertical: people do not face the axes of the world."""
    angle = rng.uniform(-np.pi, np.pi)
    world = np.eye(4)
    world[0, 0] = world[2, 2] = np.cos(angle)
    world[0, 2], world[2, 0] = np.sin(angle), -np.sin(angle)
    return world
