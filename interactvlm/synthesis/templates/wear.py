"""On the body: hats and ties, backpacks, bags over a shoulder, things on the head and on a shoulder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.proximity import first_hits
from interactvlm.synthesis.actor import ARMS, part_vertices, side_of
from interactvlm.synthesis.prop import Prop, turned_about_y
from interactvlm.synthesis.solve import close_hand, open_hand, palm_gap
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.stance import take_stance

__all__ = ["CARRY_BACK", "CARRY_HEAD", "CARRY_SHOULDER", "WEAR_FACE", "WEAR_HEAD", "WEAR_NECK", "put_on_back"]

Array = NDArray[np.float64]

_UP = np.array([0.0, 1.0, 0.0])
_FRONT = np.array([0.0, 0.0, 1.0])


def _press_to_body(stage: Stage, prop: Prop, direction: Array, parts: tuple[str, ...], press: float) -> None:
    """Move a prop along a direction until it is pressed into the body by `press` metres.

    Raises:
        Missed: when nothing is in the way.
    """
    points = stage.actor.vertices[part_vertices(*parts)]
    back = 0.3
    gap = float(first_hits(points + back * direction, -direction, prop.triangles).min()) - back
    if not np.isfinite(gap):
        raise Missed("nothing to lean it on")
    prop.shift(direction * (gap + press))


def _stand_off(prop: Prop) -> float:
    """Metres that a backpack's straps stand off from its back."""
    position, normal, _, _ = prop.anchor("strap")
    return float(max(((prop.vertices - position) @ normal).max(), 0.0))


def put_on_back(stage: Stage, prop: Prop) -> None:
    """A backpack on the back, its own back against the spine."""
    actor = stage.actor
    up, front = actor.axis("spine02", _UP), actor.axis("spine02", _FRONT)
    position = actor.where("upper_back") + up * stage.uniform(-0.12, -0.06) * actor.stature / 1.7
    prop.put("strap", position - 0.1 * front, front, up)
    # The straps stand off from the pack; on a person they lie over the shoulders, and the pack's back on the back.
    _press_to_body(stage, prop, front, ("torso",), 0.01 + 0.75 * _stand_off(prop))


def _play_back(stage: Stage, category: str, hand: str) -> None:
    prop = stage.bring((category,), "carry_back", "wear", "strap", soft=True)
    take_stance(stage, calm=True)
    put_on_back(stage, prop)


def _play_shoulder(stage: Stage, category: str, hand: str) -> None:
    """A bag hanging from a shoulder, against the flank, a hand on it at times."""
    actor = stage.actor
    prop = stage.bring((category,), f"carry_{hand}_shoulder", "wear", "strap", soft=True)
    take_stance(stage, calm=True)
    side, sign = side_of(hand)
    # Room for the bag between arm and flank.
    actor.set_angles({"arm_raise" + side: stage.uniform(4, 14), "elbow" + side: stage.uniform(-20, 30)})
    # Its handle passes over the shoulder, its back leans against the flank.
    shoulder = actor.where("shoulder_top" + side)
    inward = np.array([-sign, 0.0, 0.0])
    above = float(prop.vertices[:, 1].max() - prop.anchor("strap")[0][1])
    if above < 0.3:
        raise Missed("the handle is too short for a shoulder")
    position = np.array([shoulder[0] + sign * 0.3, shoulder[1] + 0.006 - above, shoulder[2]])
    prop.put("strap", position, inward, _UP)
    _press_to_body(stage, prop, inward, ("torso", "hips"), 0.012)


def _play_head(stage: Stage, category: str, hand: str) -> None:
    prop = stage.bring((category,), "wear_head", "wear", "wear", soft=True)
    take_stance(stage)
    up, front = stage.actor.axis("head", _UP), stage.actor.axis("head", _FRONT)
    tilt = np.radians(stage.uniform(-8, 10))
    up, front = np.cos(tilt) * up + np.sin(tilt) * front, np.cos(tilt) * front - np.sin(tilt) * up
    if category == "headphones":
        # Its springy bow opens to the width of the head; the stiff mesh rests on the crown instead.
        prop.put("wear", stage.actor.where("crown") + 0.004 * up - 0.02 * front, -up, front)
        return
    prop.put("wear", stage.actor.where("crown") + 0.05 * up - 0.015 * front, -up, front)
    _press_to_body(stage, prop, -up, ("head",), 0.012)


def _play_face(stage: Stage, category: str, hand: str) -> None:
    prop = stage.bring((category,), "wear_face", "wear", "wear", soft=True)
    take_stance(stage)
    up, front = stage.actor.axis("head", _UP), stage.actor.axis("head", _FRONT)
    eyes = stage.actor.where("brow") - 0.02 * stage.actor.stature / 1.7 * up
    # The temples spring open around the head: only the bridge decides how far it goes.
    prop.put("wear", eyes + 0.014 * front, -front, up)


def _play_neck(stage: Stage, category: str, hand: str) -> None:
    """A tie from the collar down the chest."""
    prop = stage.bring((category,), "wear_neck", "wear", "wear", soft=True)
    take_stance(stage, calm=True)
    lean = np.radians(stage.uniform(4, 10))
    up, front = stage.actor.axis("spine02", _UP), stage.actor.axis("spine02", _FRONT)
    up, front = np.cos(lean) * up - np.sin(lean) * front, np.cos(lean) * front + np.sin(lean) * up
    above = float(prop.vertices[:, 1].max() - prop.anchor("wear")[0][1])
    collar = stage.actor.where("neck01") + 0.08 * front
    prop.put("wear", collar - above * up + 0.1 * front, -front, up)
    _press_to_body(stage, prop, -front, ("torso", "head"), 0.01)


def _play_on_head(stage: Stage, category: str, hand: str) -> None:
    """A load balanced on the head, one hand holding it."""
    actor = stage.actor
    prop = stage.bring((category,), "carry_head", "support")
    take_stance(stage, calm=True)
    actor.set_angles({"neck_nod": 0, "neck_tilt": 0, "neck_turn": stage.normal(0, 10)})
    prop.pose = turned_about_y(stage.uniform(-180, 180))
    middle = (prop.vertices.min(axis=0) + prop.vertices.max(axis=0)) / 2
    crown = actor.where("crown")
    prop.shift(np.array([crown[0] - middle[0], 0.0, crown[2] - middle[2]]))
    prop.stand_on(float(crown[1] + 0.05))
    _press_to_body(stage, prop, np.array([0.0, -1.0, 0.0]), ("head",), 0.006)
    if stage.chance(0.7):
        steadied = stage.choose(("left", "right"))
        if _steady(stage, prop, steadied):
            stage.tags["steadied_by"] = steadied


def _steady(stage: Stage, prop: Prop, hand: str) -> bool:
    """One hand on the side of a load; whether that is in reach."""
    actor = stage.actor
    side, sign = side_of(hand)
    low, high = prop.vertices.min(axis=0), prop.vertices.max(axis=0)
    edge = high[0] if sign > 0 else low[0]
    point = np.array([edge, low[1] + min(0.35 * (high[1] - low[1]), 0.05), (low[2] + high[2]) / 2 + 0.02])
    before = actor.pose.copy()
    targets = actor.targets()
    actor.reach(targets, hand, point, gap=0.008, palm=np.array([-sign, 0.0, 0.0]), along=np.array([0.0, 1.0, 0.1]))
    free = tuple(name for name in ARMS if name.endswith(side))
    if actor.solve(targets, free, stiffness=0.005) > 0.03:
        actor.pose = before
        return False
    gap = palm_gap(actor, hand, prop)
    if np.isfinite(gap):
        targets = actor.targets()
        shift = np.array([-sign * (gap + 0.004), 0.0, 0.0])
        actor.reach(
            targets, hand, actor.where("palm" + side) + shift,
            palm=np.array([-sign, 0.0, 0.0]), along=np.array([0.0, 1.0, 0.1]),
        )  # fmt: skip
        actor.solve(targets, free, stiffness=0.005)
    open_hand(actor, hand)
    close_hand(actor, hand, prop, most=30)
    return True


CARRY_BACK = Template(
    name="carry_back",
    share=1.2,
    categories=("backpack",),
    play=_play_back,
    needs=("strap",),
    touching=lambda hand: {0: (("torso",),)},
    only=lambda hand: {
        0: (
            "torso",
            "hips",
            "head",
            "left arm",
            "right arm",
            "left thigh",
            "right thigh",
            "left forearm",
            "right forearm",
        )
    },
    deepest=0.05,
)
CARRY_SHOULDER = Template(
    name="carry_shoulder",
    share=1.0,
    categories=("handbag",),
    play=_play_shoulder,
    needs=("strap",),
    touching=lambda hand: {0: (("torso", "hips", f"{hand} thigh", f"{hand} arm"),)},
    hands=("left", "right"),
    deepest=0.03,
)
WEAR_HEAD = Template(
    name="wear_head",
    share=0.7,
    categories=("hat", "headphones"),
    play=_play_head,
    needs=("wear",),
    touching=lambda hand: {0: (("head",),)},
    only=lambda hand: {0: ("head",)},
    deepest=0.04,
)
WEAR_FACE = Template(
    name="wear_face",
    share=0.5,
    categories=("eye glasses",),
    play=_play_face,
    needs=("wear",),
    touching=lambda hand: {0: (("head",),)},
    only=lambda hand: {0: ("head",)},
    deepest=0.03,
)
WEAR_NECK = Template(
    name="wear_neck",
    share=0.7,
    categories=("tie",),
    play=_play_neck,
    needs=("wear",),
    touching=lambda hand: {0: (("torso",),)},
    only=lambda hand: {0: ("torso", "head", "hips")},
    deepest=0.03,
)
CARRY_HEAD = Template(
    name="carry_head",
    share=0.5,
    categories=("suitcase", "box", "bowl", "basket", "surfboard", "book"),
    play=_play_on_head,
    touching=lambda hand: {0: (("head",),)},
    deepest=0.02,
)
