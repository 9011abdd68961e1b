"""What else is there: things that nobody touches, and at times a second person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interactvlm.synthesis.actor import Actor
from interactvlm.synthesis.bodies import draw_body
from interactvlm.synthesis.prop import Prop, turned_about_y
from interactvlm.synthesis.stage import Fetch, Missed, Stage
from interactvlm.synthesis.templates.stance import take_stance

__all__ = ["CLEARANCE", "add_bystander", "add_distractors"]

Array = NDArray[np.float64]

CLEARANCE = 0.08
"""Metres that untouched things keep from people and from other things."""

_PLACES = 8


def add_bystander(stage: Stage, rng: np.random.Generator) -> list[Actor]:
    """A second person beside or behind the main one, in one scene of eight; touches nothing."""
    if rng.random() > 0.125:
        return []
    other = Actor(draw_body(rng), rng)
    helper = Stage(other, rng, lambda name, dice: None)
    try:
        take_stance(helper, calm=True)
    except Missed:
        return []
    boxes = _boxes(stage, [])
    for _ in range(_PLACES):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 2.2)
        heading = rng.uniform(-np.pi, np.pi)
        turned = Actor(other.body, rng)
        turned.pose = other.pose.copy()
        turned.pose.turn = np.array([0.0, heading, 0.0])
        cosine, sine = np.cos(heading), np.sin(heading)
        x, _, z = other.pose.place
        turned.pose.place = np.array(
            [
                cosine * x + sine * z + distance * np.sin(angle),
                other.pose.place[1],
                cosine * z - sine * x + distance * np.cos(angle),
            ]
        )
        if _free(turned.vertices, boxes):
            return [turned]
    return []


def add_distractors(
    stage: Stage, rng: np.random.Generator, fetch: Fetch, categories: Sequence[str], people: Sequence[Actor]
) -> list[Prop]:
    """Up to three things on the floor around the person, none of a category that is already there."""
    present = {prop.model.category for prop in stage.props}
    wanted = int(rng.choice(4, p=(0.3, 0.35, 0.25, 0.1)))
    if stage.tags.get("template") == "no_contact":
        wanted = max(wanted, 1)
    boxes = _boxes(stage, people)
    added: list[Prop] = []
    for _ in range(wanted * 4):
        if len(added) == wanted:
            break
        name = categories[int(rng.integers(len(categories)))]
        model = None if name in present else fetch(name, rng)
        if model is None or np.ptp(model.mesh.vertices, axis=0).max() > 2.6:
            continue
        prop = Prop(model)
        for _ in range(_PLACES):
            angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 1.9)
            prop.pose = turned_about_y(
                float(rng.uniform(-180, 180)), (float(distance * np.sin(angle)), 0.0, float(distance * np.cos(angle)))
            )
            prop.stand_on(0.0)
            if _free(prop.vertices, boxes):
                added.append(prop)
                present.add(name)
                boxes.append(_box(prop.vertices))
                break
    return added


def _boxes(stage: Stage, people: Sequence[Actor]) -> list[tuple[Array, Array]]:
    """Boxes in which something is: of each object, and of each person by halves, so that things may stand close."""
    found = [_box(prop.vertices) for prop in stage.props]
    for person in (stage.actor, *people):
        points = person.vertices
        middle = (points[:, 1].min() + points[:, 1].max()) / 2
        found += [_box(points[points[:, 1] <= middle]), _box(points[points[:, 1] >= middle])]
    return found


def _box(points: Array) -> tuple[Array, Array]:
    return points.min(axis=0), points.max(axis=0)


def _free(points: Array, boxes: Sequence[tuple[Array, Array]]) -> bool:
    low, high = _box(points)
    return not any(bool(((low < top + CLEARANCE) & (high > bottom - CLEARANCE)).all()) for bottom, top in boxes)
