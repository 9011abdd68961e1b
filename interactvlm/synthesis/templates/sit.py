"""On furniture: sitting down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.proximity import first_hits
from interactvlm.synthesis.actor import ARMS, LEGS, part_vertices, side_of
from interactvlm.synthesis.poses import SIT
from interactvlm.synthesis.prop import Prop, turned_about_y
from interactvlm.synthesis.solve import settle
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template

__all__ = ["SEATS", "SIT_ON", "level_reach", "rest_hands", "sit_down"]

Array = NDArray[np.float64]

_DOWN = np.array([0.0, -1.0, 0.0])
_BACK = np.array([0.0, 0.0, -1.0])

SEATS: tuple[str, ...] = (
    *(
        "chair",
        "couch",
        "bench",
        "toilet",
        "bed",
        "stool",
        "armchair",
        "office chair",
        "suitcase",
        "box",
        "deck chair",
        "stairs",
    ),
)
_SOFT = {"couch", "bed"}


def sit_down(stage: Stage, prop: Prop, *, soft: bool, lean: float = 0.5) -> None:
    """Sit on an object's "seat", which turns to face +z at the origin; feet on the floor where the legs reach it.

    Args:
        stage: with the actor.
        prop: with an anchor "seat".
        soft: whether the seat gives way.
        lean: how often the back is laid against the object's back.

    Raises:
        Missed: when the seat is out of reach.
    """
    actor = stage.actor
    _, _, facing, _ = prop.anchor("seat")
    turn = -np.degrees(np.arctan2(facing[0], facing[2]))
    prop.pose = turned_about_y(float(turn)) @ prop.pose
    seat, _, _, radius = prop.anchor("seat")
    prop.shift(np.array([-seat[0], 0.0, -seat[2]]))
    seat = prop.anchor("seat")[0]

    spread = stage.uniform(0.0, 9.0)
    actor.assume({**SIT, "hip_abduct": spread, "hip_turn": stage.uniform(-2, 6)}, 0.2)
    actor.pose.turn[:] = 0
    front, rear = level_reach(prop, seat, (0.0, 1.0)), -level_reach(prop, seat, (0.0, -1.0))
    side = stage.uniform(-0.3, 0.3) * max(radius - 0.22, 0.0)
    thigh = float(np.linalg.norm(actor.where("lowerleg01.L") - actor.where("upperleg01.L")))
    # Knees a little over the front edge, but the buttocks (a hand behind the hip joint) on the seat.
    ahead = max(front - thigh + stage.uniform(0.04, 0.1), rear + 0.11 * thigh / 0.42 + stage.uniform(0.0, 0.05))
    actor.pose.place[:] = (side, seat[1] + 0.3, ahead)
    _level_thighs(stage)
    actor.pose.place[1] = seat[1] + 0.095 * actor.stature / 1.7
    actor.pose.place[2] += max(0.012 + _inside_back(stage, prop, seat[1], 0.25), 0.0)
    actor.pose.place[1] = seat[1] + 0.3
    press = 0.03 if soft else 0.014
    _lower(stage, prop, press, seat[1])
    _feet(stage, seat[1])
    if stage.chance(lean):
        _lean_back(stage, prop)
    _lower(stage, prop, press, seat[1])
    actor.pose.place[2] += max(_inside_back(stage, prop, seat[1], 0.12) - 0.012, 0.0)
    _feet(stage, seat[1])
    _lower(stage, prop, press, seat[1])


def _level_thighs(stage: Stage) -> None:
    """Knees as high as the hips, so that it is the thighs that meet the seat."""
    actor = stage.actor
    targets = actor.targets()
    for side in (".L", ".R"):
        knee = actor.where("lowerleg01" + side)
        knee[1] = actor.where("upperleg01" + side)[1] - stage.uniform(0.0, 0.02)
        targets.point("lowerleg01" + side, knee, weight=(0.3, 1.0, 0.3))
    actor.solve(targets, LEGS, stiffness=0.005)


def _inside_back(stage: Stage, prop: Prop, seat: float, deepest: float) -> float:
    """How far the middle of the trunk is behind the front of the seat's back, metres; negative when it is free."""
    actor = stage.actor
    points = actor.vertices[part_vertices("torso", "hips")]
    trunk = points[(points[:, 1] > seat + 0.07) & (np.abs(points[:, 0] - actor.pose.place[0]) < 0.1)]
    hits = first_hits(trunk - deepest * _BACK, _BACK, prop.triangles)
    return float(deepest - hits.min(initial=np.inf))


def level_reach(prop: Prop, centre: Array, direction: tuple[float, float]) -> float:
    """How far a level surface reaches from a point of it along (x, z): to where it ends or something stands on it.

    Slats and holes of up to ten centimetres (in the middle: of a toilet seat) do not end it.
    """
    steps = np.arange(0.0, 1.6, 0.02)
    above = 0.35
    origins = np.stack(
        [centre[0] + direction[0] * steps, np.full(len(steps), centre[1] + above), centre[2] + direction[1] * steps], 1
    )
    depth = first_hits(origins, _DOWN, prop.triangles) - above
    blocked = np.flatnonzero(depth < -0.06)
    found = np.flatnonzero(np.abs(depth) < 0.06)
    if len(blocked):
        found = found[found < blocked[0]]
    if not len(found) or found[0] > 12:
        return 0.0
    breaks = np.flatnonzero(np.diff(found) > 5)
    return float(steps[found[breaks[0] if len(breaks) else -1]])


def _lower(stage: Stage, prop: Prop, press: float, seat: float) -> None:
    """Down onto the seat; arms and backs of chairs carry nobody."""
    distance = settle(stage.actor, prop, _DOWN, ("hips", "left thigh", "right thigh"), press=press, level=seat)
    if not np.isfinite(distance):
        raise Missed("nothing to sit on")
    stage.actor.pose.place[1] -= distance


def _lean_back(stage: Stage, prop: Prop) -> None:
    actor = stage.actor
    actor.set_angles({"spine_bend": stage.uniform(-10, -2)})
    distance = settle(actor, prop, _BACK, ("torso",), press=0.012, back=0.1)
    if np.isfinite(distance) and distance < 0.3:
        actor.pose.place[2] -= distance


def _feet(stage: Stage, height: float) -> None:
    """Flat on the floor in front of the knees, if they get there; else they hang."""
    actor = stage.actor
    if height > 0.62 * actor.leg_length:
        targets = actor.targets()
        for side in (".L", ".R"):
            knee = actor.where("lowerleg01" + side)
            knee[1] = height + 0.06 * actor.stature / 1.7
            targets.point("lowerleg01" + side, knee, weight=(0.2, 1.0, 0.2))
        actor.solve(targets, LEGS, stiffness=0.005)
        return
    before = actor.pose.copy()
    targets = actor.targets()
    for side, sign in ((".L", 1.0), (".R", -1.0)):
        knee = actor.where("lowerleg01" + side)
        ahead = stage.uniform(-0.03, 0.14) * actor.leg_length / 0.9
        # The sole's frame counts from the ankle.
        ankle = np.array([knee[0] + sign * stage.uniform(-0.03, 0.05), 0.0, knee[2] + ahead])
        actor.plant(targets, side, ankle, sign * stage.uniform(0, 15))
    missed = actor.solve(targets, LEGS, stiffness=0.004)
    lowest = min(float(actor.where("lowerleg01" + side)[1]) for side in (".L", ".R"))
    if missed > 0.04 or lowest < height + 0.03 * actor.stature / 1.7:
        actor.pose = before


def rest_hands(stage: Stage) -> None:
    """Put both hands somewhere quiet: on the thighs, in the lap, one up."""
    actor = stage.actor
    kind = stage.choose(("thighs", "lap", "thighs", "loose"))
    if kind == "loose":
        return
    targets = actor.targets()
    for hand in ("left", "right"):
        side, sign = side_of(hand)
        hip, knee = actor.where("upperleg01" + side), actor.where("lowerleg01" + side)
        share = stage.uniform(0.5, 0.85) if kind == "thighs" else stage.uniform(0.3, 0.45)
        point = hip + share * (knee - hip)
        point = point + np.array([0.0, 0.085 * actor.stature / 1.7, 0.0])
        if kind == "lap":
            point[0] = sign * stage.uniform(0.02, 0.06)
        inward = np.array([-sign * (0.35 if kind == "thighs" else 1.0), 0.0, 0.8])
        actor.reach(targets, hand, point, palm=_DOWN, along=inward)
    actor.solve(targets, ARMS, stiffness=0.01)


def _play_sit(stage: Stage, category: str, hand: str) -> None:
    soft = category in _SOFT
    prop = stage.bring((category,), "sit", "sit", "seat", soft=soft)
    sit_down(stage, prop, soft=soft)
    rest_hands(stage)
    if stage.chance(0.5):
        stage.actor.look(np.array([stage.normal(0, 2), stage.uniform(0.6, 1.8), 3.0]))


SIT_ON = Template(
    name="sit",
    share=3.0,
    categories=SEATS,
    play=_play_sit,
    needs=("seat",),
    touching=lambda hand: {0: (("hips", "left thigh"), ("hips", "right thigh"))},
    deepest=0.045,
)
