"""With both hands: carrying boxes and bears, swinging bats, holding laptops and steering wheels of one's own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from interactvlm.synthesis.actor import ARMS, TRUNK, side_of
from interactvlm.synthesis.prop import Prop
from interactvlm.synthesis.solve import PALM_PRESS, close_hand, open_hand, palm_gap
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.stance import take_stance

__all__ = ["BOTH", "meet_hands"]

Array = NDArray[np.float64]

_ITEMS: Mapping[str, str] = {
    "baseball bat": "grasp",
    "tennis racket": "grasp",
    "sports ball": "grasp",
    "teddy bear": "grasp",
    "suitcase": "lift",
    "book": "open",
    "laptop": "grasp",
    "surfboard": "lift",
    "snowboard": "lift",
    "skateboard": "lift",
    "pizza": "contain",
    "cake": "support",
    "bowl": "contain",
    "potted plant": "lift",
    "vase": "wrapgrasp",
    "keyboard": "grasp",
    "tv": "lift",
    "microwave": "lift",
    "box": "lift",
    "plate": "contain",
    "cell phone": "press",
    "frisbee": "grasp",
    "skis": "lift",
    "broom": "grasp",
    "toaster": "lift",
    "clock": "grasp",
    "kite": "grasp",
    "cup": "wrapgrasp",
    "umbrella": "grasp",
    "sandwich": "grasp",
    "handbag": "grasp",
    "tray": "support",
    "guitar": "grasp",
}


def meet_hands(
    stage: Stage,
    prop: Prop,
    *,
    bend: bool = False,
    on_bar: bool = False,
    swapped: bool = False,
    limit: float = 0.06,
) -> None:
    """Bring both palms to a placed object's "grip_left" and "grip_right", and close the fingers.

    Args:
        stage: with the actor.
        prop: where it is.
        bend: whether the trunk may bend to help.
        on_bar: the hands grip bars and may turn about them; else palms lie flat against the surface.
        swapped: the left hand takes "grip_right".
        limit: metres that may be missed.

    Raises:
        Missed: out of reach.
    """
    actor = stage.actor
    grips = {"left": "right", "right": "left"} if swapped else {"left": "left", "right": "right"}
    extra = {"left": 0.0, "right": 0.0}
    for attempt in range(2):
        targets = actor.targets()
        for hand in ("left", "right"):
            position, normal, direction, radius = prop.anchor(f"grip_{grips[hand]}")
            if on_bar:
                actor.reach(targets, hand, position - radius * normal, gap=radius + extra[hand], lateral=direction)
            else:
                actor.reach(targets, hand, position, gap=extra[hand], palm=-normal)
                # Fingers forward, as far as the grip lets them.
                bone, frame = "wrist" + side_of(hand)[0], actor.marks.hands[side_of(hand)[0]]
                targets.direction(bone, frame.along, np.array([0.0, 0.15, 1.0]), weight=0.03)
        missed = actor.solve(targets, ARMS, stiffness=0.005, iterations=30)
        if missed > 0.02 and bend:
            missed = actor.solve(targets, ARMS + TRUNK, stiffness=0.01, iterations=30)
        if attempt == 0:
            for hand in ("left", "right"):
                open_hand(actor, hand)
                gap = palm_gap(actor, hand, prop)
                extra[hand] = float(np.clip(-gap - PALM_PRESS, -0.04, 0.04)) if np.isfinite(gap) else 0.0
    if missed > limit:
        raise Missed("the hands do not get to the grips")
    for hand in ("left", "right"):
        open_hand(actor, hand)
        close_hand(actor, hand, prop)


def _bar(prop: Prop) -> bool:
    """Whether both grips lie on one handle, one behind the other."""
    left, _, along, radius = prop.anchor("grip_left")
    right = prop.anchor("grip_right")[0]
    apart = right - left
    length = float(np.linalg.norm(apart))
    return radius < 0.04 and length < 0.45 and abs(float(along @ apart)) > 0.85 * length


def _play(stage: Stage, category: str, hand: str) -> None:
    prop = stage.bring((category,), "hold_both", _ITEMS[category], "grip_left", "grip_right")
    take_stance(stage)
    if _bar(prop):
        _swing(stage, prop)
    else:
        _carry(stage, prop)


def _carry(stage: Stage, prop: Prop) -> None:
    """In front of the body, upright, its left grip on the person's left."""
    actor = stage.actor
    size = actor.stature / 1.7
    across = prop.anchor("grip_left")[0] - prop.anchor("grip_right")[0]
    turn = -np.arctan2(-across[2], across[0])
    prop.pose = _about_y(turn) @ prop.pose
    tilt = stage.uniform(-12, 12)
    height = stage.uniform(-0.08, 0.22)
    middle = (prop.anchor("grip_left")[0] + prop.anchor("grip_right")[0]) / 2
    chest = actor.where("spine03") + np.array([0.0, height * size, 0.0])
    # It may hide the chest, not the face.
    above = float(prop.vertices[:, 1].max() - middle[1])
    chest[1] = min(chest[1], max(float(actor.where("neck01")[1]) - above, float(actor.where("spine05")[1])))
    depth = float(middle[2] - prop.vertices[:, 2].min())
    ahead = depth + (0.14 + stage.uniform(0.03, 0.16)) * size
    if chest[1] + above > actor.where("neck01")[1]:
        ahead += 0.08 * size
    prop.shift(chest + np.array([stage.uniform(-0.04, 0.04), 0.0, ahead]) - middle)
    prop.pose = _pivot(prop.pose, chest + np.array([0.0, 0.0, ahead]), tilt)
    meet_hands(stage, prop, bend=True)
    if stage.chance(0.5):
        actor.look((prop.vertices.min(axis=0) + prop.vertices.max(axis=0)) / 2)


def _swing(stage: Stage, prop: Prop) -> None:
    """On one handle, ready to strike; from either shoulder."""
    actor = stage.actor
    sign = 1.0 if stage.chance(0.5) else -1.0  # +1: over the left shoulder
    arm = actor.arm_length
    low, high = prop.anchor("grip_left"), prop.anchor("grip_right")
    tip = low[2]
    # The bat points away from the hands; the anchors say which of the two is nearer to its tip.
    kind = stage.choose(("ready", "ready", "front", "low"))
    lean = {
        "ready": np.array([sign * 0.35, 1.0, -0.25]),
        "front": np.array([-sign * 0.2, 0.55, 0.8]),
        "low": np.array([-sign * 0.5, -0.75, 0.6]),
    }[kind] + stage.rng.uniform(-0.15, 0.15, 3)
    place = {
        "ready": np.array([sign * 0.28, -0.02, 0.45]),
        "front": np.array([0.0, -0.35, 0.62]),
        "low": np.array([-sign * 0.1, -0.72, 0.45]),
    }[kind] + stage.rng.uniform(-0.06, 0.06, 3)
    chest = (actor.where("upperarm01.L") + actor.where("upperarm01.R")) / 2
    middle = (low[0] + high[0]) / 2
    grip = chest + arm * place
    own = np.asarray(tip, float)
    turn = _between(own, lean / np.linalg.norm(lean))
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = grip - turn @ middle
    prop.pose = pose @ prop.pose
    actor.set_angles({"spine_twist": sign * stage.uniform(0, 25)})
    meet_hands(stage, prop, on_bar=True, bend=True, swapped=sign > 0)
    stage.tags["style"] = kind
    actor.look(chest + np.array([-sign * 1.5, 0.0, 2.0]))


def _about_y(angle: float) -> Array:
    pose = np.eye(4)
    pose[0, 0] = pose[2, 2] = np.cos(angle)
    pose[0, 2], pose[2, 0] = np.sin(angle), -np.sin(angle)
    return pose


def _pivot(pose: Array, centre: Array, degrees: float) -> Array:
    """The pose tilted about an axis through `centre` along x."""
    angle = np.radians(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    moved = pose.copy()
    moved[:3, :3] = turn @ pose[:3, :3]
    moved[:3, 3] = turn @ (pose[:3, 3] - centre) + centre
    return moved


def _between(one: Array, other: Array) -> Array:
    """The smallest rotation [3, 3] that takes a unit vector to another."""
    from scipy.spatial.transform import Rotation

    axis = np.cross(one, other)
    sine, cosine = float(np.linalg.norm(axis)), float(one @ other)
    if sine < 1e-9:
        return np.eye(3) if cosine > 0 else np.asarray(Rotation.from_rotvec([np.pi, 0, 0]).as_matrix())
    return np.asarray(Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix())


def _hands(hand: str) -> dict[int, tuple[tuple[str, ...], ...]]:
    return {0: (("left hand",), ("right hand",))}


_LIMBS = tuple(f"{side} {part}" for side in ("left", "right") for part in ("hand", "forearm", "arm", "thigh"))

BOTH = Template(
    name="hold_both",
    share=4.0,
    categories=tuple(_ITEMS),
    play=_play,
    needs=("grip_left", "grip_right"),
    touching=_hands,
    only=lambda hand: {0: ("torso", "hips", *_LIMBS)},
    hands=("both",),
    deepest=0.02,
)
