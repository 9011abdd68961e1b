"""Lying on beds, couches, benches and boards: on the back, a side or the front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.synthesis.actor import ARMS, HEAD, LEGS, side_of
from interactvlm.synthesis.poses import LIE_BACK, LIE_SIDE
from interactvlm.synthesis.prop import Prop, turned_about_y
from interactvlm.synthesis.solve import settle
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.sit import level_reach

__all__ = ["LIE"]

Array = NDArray[np.float64]

_DOWN = np.array([0.0, -1.0, 0.0])


def _play_lie(stage: Stage, category: str, hand: str) -> None:
    actor = stage.actor
    prop = stage.bring((category,), "lie", "lay", "lie", soft=True)
    _, _, along, _ = prop.anchor("lie")
    # The head goes towards +z here; the sleeper's own front turns up or to a side.
    turn = -np.degrees(np.arctan2(along[0], along[2]))
    prop.pose = turned_about_y(float(turn)) @ prop.pose
    place = prop.anchor("lie")[0]
    prop.shift(np.array([-place[0], 0.0, -place[2]]))
    place = prop.anchor("lie")[0]
    head_end, feet_end = level_reach(prop, place, (0.0, 1.0)), -level_reach(prop, place, (0.0, -1.0))
    left_end, right_end = level_reach(prop, place, (1.0, 0.0)), -level_reach(prop, place, (-1.0, 0.0))
    length, narrow = head_end - feet_end, left_end - right_end < 0.75
    bent = length < 1.02 * actor.stature
    if length < 0.82 * actor.stature:
        raise Missed("too short to lie on")
    kind = "back" if bent or narrow else stage.choose(("back", "back", "side", "front"))
    actor.assume(LIE_SIDE if kind == "side" else LIE_BACK, 0.15)
    if bent:
        actor.set_angles({f"hip_flex{s}": stage.uniform(42, 52) for s in (".L", ".R")})
        actor.set_angles({f"knee{s}": stage.uniform(84, 100) for s in (".L", ".R")})
    if kind == "side" and stage.chance(0.5):
        actor.mirror()
        towards = -1.0
    else:
        towards = 1.0
    if kind == "front":
        turned = 60.0 if stage.chance(0.5) else -60.0
        actor.set_angles({"ankle_flex.L": -40, "ankle_flex.R": -40, "neck_turn": turned})
    roll = {"back": 0.0, "front": 180.0, "side": 90.0 * towards}[kind]
    actor.pose.turn = _lying(roll + stage.normal(0, 2))
    spare = length - (0.83 if bent else 1.02) * actor.stature
    middle = (left_end + right_end) / 2 if narrow else 0.0
    actor.pose.place[:] = (middle, place[1] + 0.45, head_end - 0.5 * actor.stature - stage.uniform(0.2, 0.8) * spare)
    stage.tags["lie"] = kind
    if narrow:
        actor.set_angles({f"hip_abduct{s}": -5 for s in (".L", ".R")})
        _fold_hands(stage)
    _sink(stage, prop, 0.045, "torso", "hips", "left thigh", "right thigh")
    _relax(stage, "bent" if bent else kind, towards, prop.anchor("lie")[0][1], arms=not narrow)
    _sink(stage, prop, 0.045, "torso", "hips", "left thigh", "right thigh", "head")


def _sink(stage: Stage, prop: Prop, press: float, *parts: str) -> None:
    distance = settle(stage.actor, prop, _DOWN, parts, press=press, back=0.6)
    if not np.isfinite(distance):
        raise Missed("nothing to lie on")
    stage.actor.pose.place[1] -= distance


def _relax(stage: Stage, kind: str, towards: float, surface: float, *, arms: bool) -> None:
    """Let head, arms and legs down onto the surface at a height."""
    actor = stage.actor
    size = actor.stature / 1.7
    heights: dict[str, float] = {}
    for side in (".L", ".R"):
        upper = kind == "side" and (side == ".L") == (towards < 0)
        if arms:
            heights["wrist" + side] = 0.06 if upper else 0.04
            heights["lowerarm01" + side] = 0.2 if upper else 0.04
        if kind != "bent":
            heights["lowerleg01" + side] = {"back": 0.055, "front": 0.05, "side": 0.2 if upper else 0.05}[kind]
        heights["foot" + side] = {"back": 0.05, "bent": 0.07, "front": 0.08, "side": 0.09 if upper else 0.04}[kind]
    heights["head"] = {"back": 0.085, "bent": 0.085, "front": 0.09, "side": 0.13}[kind]
    targets = actor.targets()
    for landmark, height in heights.items():
        point = actor.where(landmark)
        point[1] = surface + (height - 0.02) * size
        targets.point(landmark, point, weight=(0.1, 1.0, 0.1))
    actor.solve(targets, (ARMS if arms else ()) + LEGS + HEAD, stiffness=0.008)


def _fold_hands(stage: Stage) -> None:
    """Both hands on the belly of a person on the back."""
    actor = stage.actor
    targets = actor.targets()
    up, left = actor.axis("spine04", np.array([0.0, 0.0, 1.0])), actor.axis("spine04", np.array([1.0, 0.0, 0.0]))
    for hand in ("left", "right"):
        _, sign = side_of(hand)
        point = actor.where("belly") + 0.03 * up + sign * stage.uniform(0.03, 0.09) * left
        actor.reach(targets, hand, point, palm=-up, along=-sign * left)
    actor.solve(targets, ARMS, stiffness=0.008)


def _lying(roll: float) -> Array:
    """Rotation vector of a body on its back, head towards +z, rolled about its long axis."""
    from scipy.spatial.transform import Rotation

    flat = Rotation.from_euler("y", 180, degrees=True) * Rotation.from_euler("x", -90, degrees=True)
    return np.asarray((flat * Rotation.from_euler("y", roll, degrees=True)).as_rotvec())


LIE = Template(
    name="lie",
    share=1.2,
    categories=("bed", "couch", "bench", "surfboard"),
    play=_play_lie,
    needs=("lie",),
    touching=lambda hand: {0: (("torso",), ("left thigh", "right thigh", "hips"))},
    deepest=0.07,
)
