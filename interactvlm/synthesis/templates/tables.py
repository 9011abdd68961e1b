"""At tables and on laps: typing, sitting with something in the hand, leaning, pushing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.proximity import first_hits
from interactvlm.synthesis.actor import ARMS, TRUNK, part_vertices, side_of
from interactvlm.synthesis.poses import STAND, STRIDE
from interactvlm.synthesis.prop import Prop, turned_about_y
from interactvlm.synthesis.solve import PALM_PRESS, close_hand, open_hand, palm_gap
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.hold import grasp, raise_hand
from interactvlm.synthesis.templates.items import ITEMS, STYLES
from interactvlm.synthesis.templates.sit import rest_hands, sit_down

__all__ = ["LEAN", "PUSH", "SIT_HOLD", "TYPE", "TYPE_LAP", "face_away"]

Array = NDArray[np.float64]

_DOWN = np.array([0.0, -1.0, 0.0])
_FRONT = np.array([0.0, 0.0, 1.0])
_CHAIRS = ("chair", "couch", "bench", "toilet", "stool", "bed", "deck chair")


def face_away(prop: Prop, anchor: str) -> None:
    """Turn an upright prop until an anchor's direction is +z: away from the person."""
    direction = prop.anchor(anchor)[2]
    turn = -float(np.degrees(np.arctan2(direction[0], direction[2])))
    prop.pose = turned_about_y(turn) @ prop.pose


def _seat(stage: Stage, categories: tuple[str, ...]) -> Prop:
    prop = stage.bring(categories, "sit", "sit", "seat")
    soft = prop.model.category in ("couch", "bed")
    if soft:
        stage.soft.add(len(stage.props) - 1)
    sit_down(stage, prop, soft=soft, lean=0.3)
    return prop


def _play_sit_hold(stage: Stage, category: str, hand: str) -> None:
    """Seated, with something in one hand; the other rests."""
    item = ITEMS[category]
    names = [name for name in sorted(item.styles) if STYLES[name].seated]
    if not names:
        raise Missed("not while sitting")
    name = stage.choose(names)
    prop = stage.bring((category,), f"hold_{hand}", item.styles[name], "grip")
    _seat(stage, _CHAIRS)
    rest_hands(stage)
    raise_hand(stage, hand, STYLES[name])
    grasp(stage, prop, hand, roll=stage.uniform(*item.roll))
    stage.tags["style"] = name
    if stage.chance(STYLES[name].looked_at):
        stage.actor.look(stage.actor.where("palm" + side_of(hand)[0]))


def _hands_down(stage: Stage, prop: Prop, points: dict[str, Array], *, turned_in: float = 0.35) -> None:
    """Lay palms on an upper side at given points, fingers away from the body.

    Raises:
        Missed: out of reach.
    """
    actor = stage.actor
    extra = dict.fromkeys(points, 0.0)
    for attempt in range(2):
        targets = actor.targets()
        for hand, point in points.items():
            _, sign = side_of(hand)
            along = np.array([-sign * turned_in, 0.05, 1.0])
            actor.reach(targets, hand, point, gap=extra[hand], palm=_DOWN, along=along)
        arms = tuple(n for n in ARMS if any(n.endswith(side_of(h)[0]) for h in points))
        missed = actor.solve(targets, arms, stiffness=0.006, iterations=30)
        if missed > 0.02:
            missed = actor.solve(targets, arms + TRUNK, stiffness=0.01, iterations=30)
        for hand in points:
            open_hand(actor, hand)
            gap = palm_gap(actor, hand, prop)
            if attempt == 0 and np.isfinite(gap):
                extra[hand] = float(np.clip(-gap - PALM_PRESS, -0.05, 0.05))
    if missed > 0.05:
        raise Missed("the hands do not get there")
    for hand in points:
        close_hand(actor, hand, prop, most=45)


def _play_type(stage: Stage, category: str, hand: str) -> None:
    """At a table, on a chair, both hands on the keys."""
    actor = stage.actor
    prop = stage.bring((category,), "type", "press", "top")
    table = stage.bring(("dining table", "desk", "table"), "support", "support", "top")
    seat = stage.bring(("chair", "stool"), "sit", "sit", "seat")
    if table.anchor("top")[0][1] - seat.anchor("seat")[0][1] < 0.2:
        raise Missed("no room for the thighs")
    sit_down(stage, seat, soft=False, lean=0.0)
    face_away(table, "top")
    low, high = table.vertices.min(axis=0), table.vertices.max(axis=0)
    top = table.anchor("top")[0]
    belly = float(actor.vertices[part_vertices("torso"), 2].max())
    edge = belly + stage.uniform(0.03, 0.09)
    table.shift(np.array([-(low[0] + high[0]) / 2, 0.0, edge - low[2]]))
    table.shift(np.array([stage.uniform(-0.3, 0.3) * max((high[0] - low[0]) / 2 - 0.35, 0.0), 0.0, 0.0]))
    height = float(table.anchor("top")[0][1])
    del top
    face_away(prop, "top")
    prop.stand_on(height)
    front = prop.vertices[:, 2].min()
    middle = (prop.vertices[:, 0].min() + prop.vertices[:, 0].max()) / 2
    prop.shift(np.array([-middle, 0.0, edge + stage.uniform(0.05, 0.12) - front]))
    _type_on(stage, prop)


def _type_on(stage: Stage, prop: Prop) -> None:
    position, _, _, radius = prop.anchor("top")
    apart = min(max(radius, 0.06), 0.1)
    points = {
        "left": position + np.array([apart, 0.0, -0.05]),
        "right": position + np.array([-apart, 0.0, -0.05]),
    }
    _hands_down(stage, prop, points)
    stage.actor.look(position + np.array([0.0, 0.12, 0.15]))


def _play_type_lap(stage: Stage, category: str, hand: str) -> None:
    """A laptop on the thighs of a sitting person."""
    actor = stage.actor
    prop = stage.bring((category,), "type_lap", "press", "top")
    _seat(stage, ("chair", "couch", "bench", "bed"))
    face_away(prop, "top")
    hip, knee = actor.where("upperleg01.L"), actor.where("lowerleg01.L")
    low, high = prop.vertices.min(axis=0), prop.vertices.max(axis=0)
    belly = float(actor.vertices[part_vertices("torso", "hips"), 2].max())
    ahead = max(belly + 0.03, float(hip[2] + 0.45 * (knee[2] - hip[2])) - float(high[2] - low[2]) / 2)
    prop.shift(np.array([-(low[0] + high[0]) / 2, 1.2, ahead - low[2]]))
    thighs = actor.vertices[part_vertices("left thigh", "right thigh")]
    gap = float(first_hits(thighs - np.array([0, 0.2, 0]), -_DOWN, prop.triangles).min()) - 0.2
    if not np.isfinite(gap):
        raise Missed("no lap")
    prop.shift(_DOWN * (gap + 0.008))
    _type_on(stage, prop)


def _play_lean(stage: Stage, category: str, hand: str) -> None:
    """Standing at a table, one or both hands on its top."""
    actor = stage.actor
    prop = stage.bring((category,), f"lean_{hand}", "support", "top")
    top = prop.anchor("top")[0]
    if not 0.35 * actor.stature < top[1] < 0.68 * actor.stature:
        raise Missed("not the height to lean on")
    face_away(prop, "top")
    low, high = prop.vertices.min(axis=0), prop.vertices.max(axis=0)
    actor.assume(STAND, 0.25)
    actor.set_angles({"spine_bend": stage.uniform(5, 25)})
    actor.pose.turn[:] = 0
    width = stage.uniform(0.1, 0.2)
    actor.stand((width, stage.uniform(-0.1, 0.1), 8), (-width, stage.uniform(-0.1, 0.1), 8))
    front = float(actor.vertices[:, 2].max())
    middle = stage.uniform(-0.5, 0.5) * max(float(high[0] - low[0]) / 2 - 0.3, 0.0)
    prop.shift(np.array([middle - (low[0] + high[0]) / 2, 0.0, front + stage.uniform(0.02, 0.08) - low[2]]))
    edge = float(prop.vertices[:, 2].min())
    hands = ("left", "right") if hand == "both" else (hand,)
    points = {}
    for one in hands:
        _, sign = side_of(one)
        points[one] = np.array([sign * stage.uniform(0.16, 0.3), top[1], edge + stage.uniform(0.08, 0.16)])
    _hands_down(stage, prop, points, turned_in=stage.uniform(-0.2, 0.5))


def _play_push(stage: Stage, category: str, hand: str) -> None:
    """Both palms against a thing, in a stride."""
    actor = stage.actor
    prop = stage.bring((category,), "push", "push", "push")
    position, normal, _, radius = prop.anchor("push")
    turn = float(np.degrees(np.arctan2(0.0, -1.0) - np.arctan2(normal[0], normal[2])))
    prop.pose = turned_about_y(turn) @ prop.pose
    position = prop.anchor("push")[0]
    actor.assume(STRIDE, 0.2)
    if stage.chance(0.5):
        actor.mirror()
    actor.set_angles({"spine_bend": stage.uniform(8, 24)})
    actor.pose.turn[:] = 0
    step = 0.3 * actor.leg_length * (1 if actor.where("foot.L")[2] > 0 else -1)
    actor.stand((0.11, step, 5), (-0.11, -step, 5))
    shoulder = (actor.where("upperarm01.L") + actor.where("upperarm01.R")) / 2
    height = float(np.clip(position[1], shoulder[1] - 0.75 * actor.arm_length, shoulder[1] + 0.1))
    if abs(height - position[1]) > radius + 0.1:
        raise Missed("not the height to push at")
    reach = actor.arm_length * stage.uniform(0.68, 0.85)
    drop = min(abs(height - shoulder[1]), 0.9 * reach)
    ahead = float(shoulder[2] + np.sqrt(reach**2 - drop**2))
    prop.shift(np.array([-position[0], 0.0, ahead - position[2]]))
    apart = float(np.clip(radius, 0.06, stage.uniform(0.16, 0.24)))
    extra = {"left": 0.0, "right": 0.0}
    for attempt in range(2):
        targets = actor.targets()
        for one in ("left", "right"):
            _, sign = side_of(one)
            point = np.array([sign * apart, height, ahead])
            along = np.array([0.0, 1.0, 0.25])
            actor.reach(targets, one, point, gap=extra[one], palm=_FRONT, along=along)
        missed = actor.solve(targets, ARMS, stiffness=0.006, iterations=35)
        for one in ("left", "right"):
            open_hand(actor, one)
            gap = palm_gap(actor, one, prop)
            if attempt == 0 and np.isfinite(gap):
                extra[one] = float(np.clip(-gap - PALM_PRESS, -0.06, 0.06))
    if missed > 0.05:
        raise Missed("the hands do not get there")
    for one in ("left", "right"):
        close_hand(actor, one, prop, most=60)


SIT_HOLD = Template(
    name="sit_hold",
    share=4.0,
    categories=tuple(name for name, item in ITEMS.items() if any(STYLES[s].seated for s in item.styles)),
    play=_play_sit_hold,
    needs=("grip",),
    touching=lambda hand: {0: ((f"{hand} hand",),), 1: (("hips", "left thigh", "right thigh"),)},
    hands=("left", "right"),
    deepest=0.035,
)
TYPE = Template(
    name="type",
    share=1.4,
    categories=("laptop", "keyboard"),
    play=_play_type,
    needs=("top",),
    touching=lambda hand: {0: (("left hand",), ("right hand",)), 2: (("hips", "left thigh", "right thigh"),)},
    only=lambda hand: {0: ("left hand", "right hand", "left forearm", "right forearm")},
    hands=("both",),
    deepest=0.03,
)
TYPE_LAP = Template(
    name="type_lap",
    share=0.9,
    categories=("laptop",),
    play=_play_type_lap,
    needs=("top",),
    touching=lambda hand: {0: (("left hand",), ("right hand",), ("left thigh", "right thigh"))},
    hands=("both",),
    deepest=0.05,
)
LEAN = Template(
    name="lean",
    share=1.2,
    categories=("dining table", "table", "desk", "sink", "oven", "railing", "shelf", "cabinet"),
    play=_play_lean,
    needs=("top",),
    touching=lambda hand: {0: tuple((f"{one} hand",) for one in (("left", "right") if hand == "both" else (hand,)))},
    hands=("left", "right", "both"),
    deepest=0.025,
)
PUSH = Template(
    name="push",
    share=1.0,
    categories=(
        "refrigerator",
        "car",
        "shopping cart",
        "stroller",
        "wheelbarrow",
        "door",
        "cabinet",
        "dining table",
        "desk",
    ),
    play=_play_push,
    needs=("push",),
    touching=lambda hand: {0: (("left hand",), ("right hand",))},
    hands=("both",),
    deepest=0.025,
)
