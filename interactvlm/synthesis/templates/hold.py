"""In one hand: cups at the chest, phones at the ear, bags at the side, rackets in the air."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.proximity import surface_distances
from interactvlm.synthesis.actor import ARMS, HEAD, Actor, part_vertices, side_of
from interactvlm.synthesis.contact import penetration
from interactvlm.synthesis.prop import Prop, turned_about_y
from interactvlm.synthesis.solve import PALM_PRESS, close_hand, open_hand, palm_gap
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.items import DEFAULT_ITEM, ITEMS, STYLES, Style, Triple
from interactvlm.synthesis.templates.stance import take_stance

__all__ = ["HOLD", "arm_of", "grasp", "outward", "raise_hand"]

Array = NDArray[np.float64]


def outward(hand: str, vector: Triple) -> Array:
    """(outwards, up, front) of a hand's side in the world, float64 [3]."""
    _, sign = side_of(hand)
    return np.array([vector[0] * sign, vector[1], vector[2]])


def arm_of(hand: str) -> tuple[str, ...]:
    """Degrees of freedom of one arm."""
    side, _ = side_of(hand)
    return tuple(name for name in ARMS if name.endswith(side))


def _near(style: Style, hand: str) -> str:
    return style.near + side_of(hand)[0] if style.near == "ear" else style.near


def raise_hand(stage: Stage, hand: str, style: Style, *, spread: bool = True) -> None:
    """Bring an empty hand where a style wants it, give or take its spread.

    Raises:
        Missed: when the arm does not get there.
    """
    actor = stage.actor
    side, _ = side_of(hand)
    jitter = stage.rng.uniform(-1, 1, 3) * (style.spread if spread else 0.0)
    if style.near:
        point = actor.where(_near(style, hand)) + outward(hand, tuple(np.array(style.at) + jitter))
    else:
        reach = actor.arm_length * (np.array(style.at) + jitter)
        point = actor.where("upperarm01" + side) + outward(hand, tuple(reach))
    wobble = stage.rng.uniform(-0.12, 0.12, 3) * (1.0 if spread else 0.0)
    targets = actor.targets()
    actor.reach(
        targets, hand, point,
        lateral=outward(hand, style.lateral) + wobble,
        palm=None if style.palm is None else outward(hand, style.palm),
    )  # fmt: skip
    if actor.solve(targets, arm_of(hand), stiffness=0.006) > 0.07 * actor.stature / 1.7:
        raise Missed(f"the {hand} hand does not get there")


def grasp(
    stage: Stage,
    prop: Prop,
    hand: str,
    anchor: str = "grip",
    *,
    roll: float = 0.0,
    hangs: bool = False,
) -> None:
    """Put an object into a hand where that is, and close the fingers around it.

    Args:
        stage: with the actor.
        prop: the object.
        hand: "left" or "right".
        anchor: where it is gripped.
        roll: degrees by which its axis deviates from the fist's.
        hangs: it hangs upright from the bent fingers.

    Raises:
        Missed: when the palm does not face the object's surface.
    """
    actor = stage.actor
    open_hand(actor, hand)
    centre, palm, lateral, along = actor.hand_frame(hand)
    angle = np.radians(roll)
    direction = np.cos(angle) * lateral + np.sin(angle) * along
    if hangs:
        knuckles = centre + 0.22 * actor.marks.hands[side_of(hand)[0]].length * along
        _hang(prop, anchor, knuckles + 0.022 * palm, direction)
        close_hand(actor, hand, prop)
        return
    prop.put(anchor, centre + 0.01 * palm, -palm, direction)
    gap = palm_gap(actor, hand, prop)
    if not np.isfinite(gap):
        raise Missed("the palm misses the grip")
    prop.shift(-(gap + PALM_PRESS) * palm)
    close_hand(actor, hand, prop)


def _hang(prop: Prop, anchor: str, position: Array, direction: Array) -> None:
    """Turn an upright object about the vertical until its grip lies along a direction, and hang it there."""
    prop.pose = np.eye(4)
    _, _, own, _ = prop.anchor(anchor)
    turn = np.degrees(np.arctan2(direction[0], direction[2]) - np.arctan2(own[0], own[2]))
    prop.pose = turned_about_y(float(turn))
    grip, normal, _, radius = prop.anchor(anchor)
    prop.shift(position - (grip - radius * normal))


def _too_long_to_hang(stage: Stage, prop: Prop, hand: str) -> bool:
    """Whether it would drag along the floor."""
    shoulder = stage.actor.where("upperarm01" + side_of(hand)[0])
    prop.pose = np.eye(4)
    return bool(prop.anchor("grip")[0][1] > shoulder[1] - 0.95 * stage.actor.arm_length - 0.02)


def _wheel(stage: Stage, prop: Prop, hand: str) -> None:
    """Stand it on the floor beside the person, a hand on its handle.

    Raises:
        Missed: when the hand does not get there.
    """
    actor = stage.actor
    side, sign = side_of(hand)
    hip, arm = actor.where("upperleg01" + side), actor.arm_length
    raise_hand(stage, hand, STYLES["side"])
    spot = actor.where("palm" + side) + np.array(
        [sign * stage.uniform(0.02, 0.14), 0.0, stage.uniform(-0.22, 0.2) * arm]
    )
    _hang(prop, "grip", spot, actor.hand_frame(hand)[2])
    prop.stand_on(0.0)
    reach = float(hip[0] * sign + 0.1 - (prop.vertices[:, 0] * sign).min())
    prop.shift(np.array([sign * max(reach, 0.0), 0.0, 0.0]))
    position, normal, direction, radius = prop.anchor("grip")
    targets = actor.targets()
    actor.reach(
        targets, hand, position - radius * normal, gap=radius + PALM_PRESS,
        lateral=direction if direction[2] > 0 else -direction,
    )  # fmt: skip
    open_hand(actor, hand)
    if actor.solve(targets, arm_of(hand), stiffness=0.005) > 0.03:
        raise Missed("the hand does not get to the handle")
    close_hand(actor, hand, prop)


def _play(stage: Stage, category: str, hand: str) -> None:
    actor = stage.actor
    item = ITEMS.get(category, DEFAULT_ITEM)
    name = stage.choose(sorted(item.styles))
    style = STYLES[name]
    prop = stage.bring((category,), f"hold_{hand}", item.styles[name], "grip")
    take_stance(stage)
    stage.tags["style"] = name
    roll = stage.uniform(*item.roll)
    touches_head = bool(style.near) and stage.chance(style.touches)
    for _ in range(4):
        if style.hangs and _too_long_to_hang(stage, prop, hand):
            _wheel(stage, prop, hand)
            break
        raise_hand(stage, hand, style, spread=not touches_head)
        grasp(stage, prop, hand, roll=roll, hangs=style.hangs)
        inside = penetration(actor.vertices[part_vertices(*_ALL_BUT_ARMS)], prop.triangles).max()
        if inside >= 0.01:
            step = outward(hand, (inside + 0.01, 0.0, 0.0))  # farther from the body
        elif touches_head:
            head = actor.vertices[part_vertices("head")]
            gap = float(surface_distances(head, prop.triangles, 0.08).min())
            if gap < 0.006 or not np.isfinite(gap):
                break
            towards = actor.where(_near(style, hand)) - prop.vertices.mean(axis=0)
            step = (gap - 0.002) * towards / np.linalg.norm(towards)
        else:
            break
        scale = 1.0 if style.near else actor.arm_length
        moved = np.array(style.at) + outward(hand, (step[0], step[1], step[2])) / scale
        style = replace(style, at=(float(moved[0]), float(moved[1]), float(moved[2])))
    _look(actor, stage, style, hand)


def _look(actor: Actor, stage: Stage, style: Style, hand: str) -> None:
    if stage.chance(style.looked_at):
        actor.look(actor.where("palm" + side_of(hand)[0]))
    elif style.looked_at > 0:
        actor.set_angles({HEAD[2]: stage.normal(0, 25), HEAD[0]: stage.normal(3, 8)})


def _parts(hand: str) -> dict[int, tuple[tuple[str, ...], ...]]:
    return {0: ((f"{hand} hand",),)}


def _only(hand: str) -> dict[int, tuple[str, ...]]:
    other = "right" if hand == "left" else "left"
    return {0: tuple(p for p in _ALL if not p.startswith(f"{other} hand"))}


_ALL_BUT_ARMS = ("torso", "hips", "head", "left thigh", "right thigh", "left leg", "right leg")
_ALL = (
    *_ALL_BUT_ARMS,
    *(f"{side} {part}" for side in ("left", "right") for part in ("hand", "forearm", "arm", "foot")),
)

HOLD = Template(
    name="hold",
    share=8.0,
    categories=tuple(ITEMS),
    play=_play,
    needs=("grip",),
    touching=_parts,
    only=_only,
    hands=("left", "right"),
)
