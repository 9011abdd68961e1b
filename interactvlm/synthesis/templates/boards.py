"""On wheels, snow and waves: boards, skis, bicycles and motorcycles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.synthesis.actor import ARMS, LEGS, TRUNK, part_vertices, side_of
from interactvlm.synthesis.poses import BOARD, CROUCH, RIDE, STAND
from interactvlm.synthesis.prop import Prop, turned_about_y
from interactvlm.synthesis.solve import close_hand, open_hand, settle
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.both import meet_hands

__all__ = ["RIDE_ON", "SHOES", "SKI", "STAND_ON"]

Array = NDArray[np.float64]

_DOWN = np.array([0.0, -1.0, 0.0])


def _turn_to(prop: Prop, direction: Array, wanted: Array) -> None:
    """Turn an upright prop about the vertical until a direction of it points where it should."""
    angle = np.arctan2(wanted[0], wanted[2]) - np.arctan2(direction[0], direction[2])
    prop.pose = turned_about_y(float(np.degrees(angle))) @ prop.pose


def _stance_points(prop: Prop) -> tuple[Array, Array]:
    return prop.anchor("deck_front")[0], prop.anchor("deck_back")[0]


def _play_board(stage: Stage, category: str, hand: str) -> None:
    """Sideways on a board, either foot in front."""
    actor = stage.actor
    prop = stage.bring((category,), "stand_on", "support", "deck_front", "deck_back")
    front, back = _stance_points(prop)
    regular = stage.chance(0.5)  # left foot in front: the nose points to the person's left (+x)
    _turn_to(prop, front - back, np.array([1.0 if regular else -1.0, 0.0, 0.0]))
    front, back = _stance_points(prop)
    middle = (front + back) / 2
    prop.shift(np.array([-middle[0], 0.0, -middle[2]]))
    if category == "surfboard":
        prop.stand_on(0.0)
    front, back = _stance_points(prop)
    length = float(np.linalg.norm(front - back))
    width = float(np.clip(length, 0.3, 0.58) * actor.leg_length / 0.9)
    share = min(width / max(length, 1e-6), 1.0)
    middle = (front + back) / 2
    front, back = middle + share * (front - middle), middle + share * (back - middle)
    left, right = (front, back) if regular else (back, front)

    actor.assume(BOARD, 0.3)
    actor.set_angles({"arm_raise.L": stage.normal(30, 18), "arm_raise.R": stage.normal(30, 18)})
    actor.pose.place[:] = (middle[0], middle[1] + 0.6 * actor.leg_length, -0.05)
    targets = actor.targets()
    for side, sign, point in ((".L", 1.0, left), (".R", -1.0, right)):
        # The anchor lies under the middle of the foot, a hand in front of the ankle.
        ankle = point + np.array([0.0, -0.003, -0.06 * actor.leg_length / 0.9])
        actor.plant(targets, side, ankle, sign * stage.uniform(2, 16), weight=3.0)
    missed = actor.solve(targets, LEGS, move_root=True, stiffness=0.004, iterations=40)
    if missed > 0.05:
        raise Missed("the feet do not get to the board")
    _press_feet(stage, prop)
    actor.look(np.array([3.0 if regular else -3.0, 1.2, 1.0]))
    stage.tags["lead_foot"] = "left" if regular else "right"


def _press_feet(stage: Stage, prop: Prop) -> None:
    distance = settle(stage.actor, prop, _DOWN, ("left foot", "right foot"), press=0.006, back=0.04)
    if not np.isfinite(distance) or abs(distance) > 0.06:
        raise Missed("the feet miss the deck")
    stage.actor.pose.place[1] -= distance


def _play_ski(stage: Stage, category: str, hand: str) -> None:
    """One foot on each ski, facing where they point."""
    actor = stage.actor
    prop = stage.bring((category,), "stand_on", "support", "foot_left", "foot_right")
    left, right = prop.anchor("foot_left")[0], prop.anchor("foot_right")[0]
    _turn_to(prop, prop.anchor("foot_left")[2], np.array([0.0, 0.0, 1.0]))
    if prop.anchor("foot_left")[0][0] < prop.anchor("foot_right")[0][0]:
        raise Missed("left ski on the right")
    left, right = prop.anchor("foot_left")[0], prop.anchor("foot_right")[0]
    middle = (left + right) / 2
    prop.shift(np.array([-middle[0], 0.0, -middle[2]]))
    left, right = prop.anchor("foot_left")[0], prop.anchor("foot_right")[0]
    actor.assume({**CROUCH, "arm_swing": 30, "arm_raise": 0, "elbow": 20}, 0.3)
    bend = stage.uniform(0.15, 1.0)
    actor.set_angles({f"hip_flex{s}": 60 * bend for s in (".L", ".R")})
    actor.set_angles({f"knee{s}": 75 * bend for s in (".L", ".R")})
    actor.pose.place[:] = (0.0, left[1] + 0.75 * actor.leg_length, 0.0)
    targets = actor.targets()
    for side, point in ((".L", left), (".R", right)):
        actor.plant(targets, side, point + np.array([0, -0.003, -0.06 * actor.leg_length / 0.9]), 0.0, weight=3.0)
    if actor.solve(targets, LEGS, move_root=True, stiffness=0.004, iterations=40) > 0.05:
        raise Missed("the feet do not get to the skis")
    _press_feet(stage, prop)
    if stage.chance(0.6):
        _poles(stage)


def _poles(stage: Stage) -> None:
    """A pole in each hand, where there are poles and the hands get to them."""
    model = stage.fetch("ski poles", stage.rng)
    if model is None:
        return
    actor = stage.actor
    poles = Prop(model, template="hold_both", affordance="grasp")
    chest = actor.where("spine02")
    if poles.anchor("grip_left")[0][1] > chest[1] + 0.12 * actor.stature / 1.7:
        return  # too long for this person, or for this crouch
    grip = (poles.anchor("grip_left")[0] + poles.anchor("grip_right")[0]) / 2
    ahead = stage.uniform(0.28, 0.42) * actor.stature / 1.7
    poles.shift(np.array([chest[0], 0.0, chest[2] + ahead]) - np.array([grip[0], 0.0, grip[2]]))
    before = actor.pose.copy()
    try:
        meet_hands(stage, poles, on_bar=True, limit=0.03)
    except Missed:
        actor.pose = before
        return
    stage.props.append(poles)


def _play_shoes(stage: Stage, category: str, hand: str) -> None:
    """Both feet in a pair of shoes."""
    actor = stage.actor
    prop = stage.bring((category,), "wear_feet", "wear", "foot_left", "foot_right", soft=True)
    long = float(np.ptp(prop.vertices[:, 2]))
    foot = float(np.ptp(actor.body.a_pose[part_vertices("left foot"), 2]))
    if not 0.93 < long / foot < 1.35:
        raise Missed("not this person's size")
    actor.assume(STAND, 0.25)
    actor.pose.turn[:] = 0
    back = prop.vertices[:, 2].min() + 0.5 * (long - foot)
    heel = actor.body.a_pose[part_vertices("left foot"), 2].min()
    ankle = actor.body.heads[actor.body.rig.index["foot.L"], 2]
    targets = actor.targets()
    actor.pose.place[:] = (0.0, 0.97 * actor.leg_length, 0.0)
    for side in (".L", ".R"):
        x = prop.anchor("foot_left" if side == ".L" else "foot_right")[0][0]
        actor.plant(targets, side, np.array([x, 0.022, back + ankle - heel]), 0.0, weight=2.0)
    if actor.solve(targets, LEGS, move_root=True, stiffness=0.004, iterations=40) > 0.04:
        raise Missed("the feet do not get into the shoes")


def _play_ride(stage: Stage, category: str, hand: str) -> None:
    """In the saddle, hands on the handlebar, feet on the pedals."""
    actor = stage.actor
    prop = stage.bring(
        (category,), "ride", "sit", "saddle", "handlebar_left", "handlebar_right", "pedal_left", "pedal_right"
    )
    left, right = prop.anchor("handlebar_left")[0], prop.anchor("handlebar_right")[0]
    across = left - right
    _turn_to(prop, across, np.array([1.0, 0.0, 0.0]))
    saddle = prop.anchor("saddle")[0]
    prop.shift(np.array([-saddle[0], 0.0, -saddle[2]]))
    saddle = prop.anchor("saddle")[0]
    grips = {side: prop.anchor("handlebar_" + name) for side, name in ((".L", "left"), (".R", "right"))}
    pedals = {side: prop.anchor("pedal_" + name) for side, name in ((".L", "left"), (".R", "right"))}
    if grips[".L"][0][2] < 0:
        raise Missed("the handlebar is behind the saddle")

    actor.assume(RIDE, 0.15)
    actor.pose.turn[:] = (np.radians(stage.uniform(4, 20)), 0.0, 0.0)
    actor.pose.place[:] = (0.0, saddle[1] + 0.25, 0.03)
    for back in (0.2, 0.05):
        # Once the legs hang down beside the saddle, only its first centimetres carry.
        distance = settle(
            actor, prop, _DOWN, ("hips", "left thigh", "right thigh"),
            press=0.012, back=back, within=(saddle, 0.2),
        )  # fmt: skip
        if not np.isfinite(distance):
            raise Missed("nothing to sit on")
        actor.pose.place[1] -= distance
        targets = actor.targets()
        for hand_name in ("left", "right"):
            side, sign = side_of(hand_name)
            position, normal, _, radius = grips[side]
            actor.reach(
                targets, hand_name, position - radius * normal, gap=radius,
                lateral=np.array([-sign, 0.0, 0.0]), palm=np.array([0.0, -0.75, 0.65]),
            )  # fmt: skip
            pedal = pedals[side][0]
            targets.point("ball" + side, pedal + np.array([0.0, 0.001, 0.0]))
            targets.direction("foot" + side, np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, -0.15]), weight=0.04)
        missed = actor.solve(targets, ARMS + LEGS, stiffness=0.004, iterations=30)
        if missed > 0.02:
            missed = actor.solve(targets, ARMS + LEGS + TRUNK, stiffness=0.004, iterations=30)
    if missed > 0.06:
        raise Missed("hands or feet do not get there")
    for hand_name in ("left", "right"):
        open_hand(actor, hand_name)
        close_hand(actor, hand_name, prop)
    actor.look(np.array([stage.normal(0, 1.0), 1.3, 5.0]))


def _riding(hand: str) -> dict[int, tuple[tuple[str, ...], ...]]:
    return {0: (("hips", "left thigh", "right thigh"), ("left hand",), ("right hand",))}


STAND_ON = Template(
    name="stand_on",
    share=2.2,
    categories=("skateboard", "snowboard", "surfboard"),
    play=_play_board,
    needs=("deck_front", "deck_back"),
    touching=lambda hand: {0: (("left foot",), ("right foot",))},
    only=lambda hand: {0: ("left foot", "right foot", "left leg", "right leg")},
)
SKI = Template(
    name="ski",
    share=1.2,
    categories=("skis",),
    play=_play_ski,
    needs=("foot_left", "foot_right"),
    touching=lambda hand: {0: (("left foot",), ("right foot",))},
    only=lambda hand: {0: ("left foot", "right foot", "left leg", "right leg")},
)
SHOES = Template(
    name="wear_feet",
    share=0.5,
    categories=("shoe",),
    play=_play_shoes,
    needs=("foot_left", "foot_right"),
    touching=lambda hand: {0: (("left foot",), ("right foot",))},
    only=lambda hand: {0: ("left foot", "right foot", "left leg", "right leg")},
    deepest=0.08,
)
RIDE_ON = Template(
    name="ride",
    share=2.2,
    categories=("bicycle", "motorcycle"),
    play=_play_ride,
    needs=("saddle", "handlebar_left", "handlebar_right", "pedal_left", "pedal_right"),
    touching=_riding,
    deepest=0.04,
)
