"""In one hand: cups at the chest, phones at the ear, bags at the side, rackets in the air."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.proximity import surface_distances
from interactvlm.synthesis.actor import ARMS, HEAD, Actor, part_vertices, side_of
from interactvlm.synthesis.contact import penetration
from interactvlm.synthesis.prop import Prop, turned_about_y
from interactvlm.synthesis.solve import PALM_PRESS, close_hand, open_hand, palm_gap
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.stance import take_stance

__all__ = ["HOLD", "ITEMS", "STYLES", "Style", "arm_of", "grasp", "outward", "raise_hand"]

Array = NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Style:
    """Where a hand is and how it is turned; directions are (outwards, up, front).

    Attributes:
        at: the palm from the shoulder joint, in arm lengths.
        lateral: where the thumb's side points.
        palm: where the palm faces; None where it does not matter.
        spread: random displacement, in arm lengths.
        near: a landmark that `at` is counted from instead, then in metres.
        looked_at: how often the person looks at the hand.
        seated: whether it also works sitting.
    touches: how often the object touches the head, where the style is near it.
    hangs: whether the object hangs down from the hand, whatever the hand's turn.
    """

    at: Triple
    lateral: Triple
    palm: Triple | None = None
    spread: float = 0.08
    near: str = ""
    looked_at: float = 0.5
    seated: bool = True
    hangs: bool = False
    touches: float = 0.8


STYLES: Mapping[str, Style] = {
    "side": Style(
        (0.16, -0.93, 0.06), (0.0, 0.05, 1.0), (-1.0, 0.0, 0.0), 0.03, looked_at=0.1, seated=False, hangs=True
    ),
    "down": Style((0.2, -0.88, 0.2), (0.0, 0.3, 1.0), (-1.0, 0.0, 0.0), 0.07, looked_at=0.2, seated=False),
    "front": Style((-0.08, -0.42, 0.62), (0.0, 1.0, 0.12), (-1.0, 0.0, 0.25)),
    "chest": Style((-0.18, -0.3, 0.52), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.1), 0.06),
    "forward": Style((-0.05, -0.12, 0.9), (0.0, 1.0, 0.2), (-1.0, 0.0, 0.0), 0.06),
    "pointing": Style((-0.02, -0.25, 0.8), (-0.15, 0.65, 0.75), (-1.0, 0.0, 0.1), 0.08),
    "up": Style((0.3, 0.6, 0.42), (0.0, 1.0, 0.1), (-0.3, 0.0, 1.0), 0.1, looked_at=0.4),
    "out": Style((0.8, -0.1, 0.3), (0.0, 1.0, 0.0), (-0.2, 0.0, 1.0), 0.1),
    "swing": Style((0.45, 0.05, 0.6), (0.3, 0.9, 0.2), None, 0.18, looked_at=0.3, seated=False),
    "backhand": Style((-0.35, -0.15, 0.6), (-0.3, 0.7, 0.5), None, 0.12, looked_at=0.3, seated=False),
    "tray": Style((0.02, -0.36, 0.6), (1.0, 0.0, 0.25), (0.0, 1.0, 0.1), 0.06),
    "read": Style((-0.2, -0.28, 0.5), (0.45, 0.85, 0.25), (-0.35, 0.35, -0.85), 0.05, looked_at=0.9),
    "mouth": Style((0.04, -0.07, 0.085), (-0.1, 0.8, -0.5), (-1.0, 0.0, -0.1), 0.008, "mouth", 0.0),
    "bite": Style((0.05, -0.065, 0.08), (-0.3, 0.6, -0.65), (-0.9, -0.1, -0.3), 0.01, "mouth", 0.0),
    "fork": Style((0.075, -0.085, 0.12), (-0.4, 0.5, -0.75), (-0.85, -0.2, -0.3), 0.01, "mouth", 0.0),
    "ear": Style((0.045, -0.045, 0.012), (-0.1, 0.4, -0.9), (-1.0, 0.0, 0.0), 0.006, "ear", 0.0),
    "hair": Style((0.2, 0.06, 0.06), (-0.1, 0.65, -0.7), (-1.0, 0.0, -0.2), 0.03, "ear", 0.0, touches=0.0),
}


@dataclass(frozen=True, slots=True)
class Item:
    """How a category is held: styles with their affordance, and how its grip may be rolled in the fist, in degrees."""

    styles: Mapping[str, str]
    roll: tuple[float, float] = (-12.0, 12.0)


_EAT = {"bite": "grasp", "front": "grasp", "chest": "grasp"}
_TOOL = {"front": "grasp", "pointing": "grasp", "down": "grasp"}
_RACKET = {"swing": "grasp", "backhand": "grasp", "up": "grasp", "down": "grasp", "front": "grasp"}
_BAG = {"side": "lift"}
_SMALL = {"front": "grasp", "chest": "grasp", "forward": "grasp", "out": "grasp", "down": "grasp"}

ITEMS: Mapping[str, Item] = {
    "cup": Item({"front": "wrapgrasp", "chest": "wrapgrasp", "mouth": "wrapgrasp", "out": "wrapgrasp"}),
    "bottle": Item({"front": "wrapgrasp", "mouth": "wrapgrasp", "down": "wrapgrasp", "out": "wrapgrasp"}),
    "wine glass": Item({"front": "wrapgrasp", "chest": "wrapgrasp", "mouth": "wrapgrasp", "out": "wrapgrasp"}),
    "bowl": Item({"tray": "contain"}),
    "vase": Item({"front": "wrapgrasp", "chest": "wrapgrasp"}),
    "fork": Item({"fork": "grasp", "front": "grasp", "pointing": "grasp"}),
    "spoon": Item({"fork": "grasp", "front": "grasp", "pointing": "grasp"}),
    "knife": Item({**_TOOL, "forward": "cut"}),
    "scissors": Item({"front": "cut", "pointing": "cut", "chest": "grasp"}),
    "toothbrush": Item({"fork": "grasp", "front": "grasp"}),
    "hair drier": Item({"hair": "grasp", "pointing": "grasp"}),
    "banana": Item({**_EAT, "out": "grasp"}),
    "apple": Item({**_EAT, "out": "grasp"}, (-180, 180)),
    "orange": Item({**_EAT, "out": "grasp"}, (-180, 180)),
    "sandwich": Item(_EAT),
    "carrot": Item(_EAT),
    "hot dog": Item(_EAT),
    "pizza": Item(_EAT),
    "donut": Item(_EAT, (-180, 180)),
    "cake": Item({"tray": "support"}),
    "cell phone": Item({"ear": "listen", "read": "press", "chest": "grasp", "front": "grasp", "up": "grasp"}),
    "remote": Item({"pointing": "press", "front": "press", "forward": "press"}),
    "book": Item({"read": "open", "chest": "grasp", "down": "grasp"}),
    "umbrella": Item({"chest": "grasp", "front": "grasp"}, (-6, 6)),
    "tennis racket": Item(_RACKET),
    "baseball bat": Item({"swing": "grasp", "down": "grasp", "up": "grasp"}),
    "baseball glove": Item({"front": "wear", "out": "wear", "up": "wear"}),
    "frisbee": Item({"swing": "grasp", "out": "grasp", "backhand": "grasp", "front": "grasp"}, (-40, 40)),
    "sports ball": Item({"front": "grasp", "out": "grasp", "up": "grasp", "tray": "grasp"}, (-180, 180)),
    "kite": Item({"up": "pull", "forward": "pull"}),
    "handbag": Item(_BAG, (-6, 6)),
    "suitcase": Item({"side": "lift"}, (-4, 4)),
    "surfboard": Item({"down": "lift", "front": "lift"}, (-6, 6)),
    "eye glasses": Item({"front": "grasp", "chest": "grasp"}),
    "hat": Item({"front": "grasp", "chest": "grasp", "up": "grasp"}),
    "shoe": Item({"front": "grasp", "side": "lift"}),
    "teddy bear": Item({"chest": "grasp", "front": "grasp", "down": "grasp"}),
    "skateboard": Item({"down": "lift", "front": "lift"}),
    "mouse": Item({"front": "grasp"}),
    "laptop": Item({"tray": "support"}, (75.0, 105.0)),
    "tie": Item({"chest": "grasp"}),
    "broom": Item({"front": "grasp"}),
}
_DEFAULT = Item(_SMALL)


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
    item = ITEMS.get(category, _DEFAULT)
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
