"""With one foot: kicking a ball, stopping it under the sole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.proximity import first_hits
from interactvlm.synthesis.actor import LEGS, TRUNK, part_vertices, side_of
from interactvlm.synthesis.poses import STAND
from interactvlm.synthesis.stage import Missed, Stage
from interactvlm.synthesis.templates.base import Template

__all__ = ["KICK"]

Array = NDArray[np.float64]


def _play(stage: Stage, category: str, hand: str) -> None:
    """The right foot plays, then everything is mirrored for the left: `hand` names the foot's side."""
    actor = stage.actor
    side, sign = side_of(hand)
    other = ".R" if side == ".L" else ".L"
    size = actor.leg_length / 0.9
    prop = stage.bring((category,), f"kick_{hand}", "push", "kick")
    radius = float(np.ptp(prop.vertices[:, 1])) / 2
    under = radius < 0.16 and stage.chance(0.35)
    actor.assume(STAND, 0.3)
    actor.set_angles({"spine_bend": stage.uniform(2, 14), "neck_nod": stage.uniform(8, 25)})
    actor.set_angles({"arm_raise" + other: stage.uniform(0, 45), "arm_raise" + side: stage.uniform(-20, 25)})
    actor.pose.turn[:] = 0
    actor.pose.place[:] = (0.0, 0.86 * actor.leg_length, 0.0)
    targets = actor.targets()
    actor.plant(targets, other, np.array([-sign * 0.08 * size, 0.0, 0.0]), -sign * stage.uniform(0, 20), weight=3.0)
    if under:
        top = np.array([sign * stage.uniform(0.08, 0.15) * size, 2 * radius + 0.004, stage.uniform(0.24, 0.34) * size])
        targets.point("ball" + side, top)
        targets.direction("foot" + side, np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, -0.25]), weight=0.06)
    else:
        toe = np.array([sign * stage.uniform(0.04, 0.14) * size, radius * 0.8, stage.uniform(0.25, 0.5) * size])
        targets.point("toe" + side, toe)
        targets.direction("foot" + side, np.array([0.0, 0.0, 1.0]), np.array([0.0, -0.35, 1.0]), weight=0.06)
    if actor.solve(targets, LEGS + TRUNK, move_root=True, stiffness=0.006, iterations=40) > 0.05:
        raise Missed("the foot does not get there")
    foot = actor.vertices[part_vertices(f"{hand} foot")]
    actor.pose.place[1] -= min(float(actor.vertices[:, 1].min()) + 0.004, 0.03)
    centre = prop.vertices.mean(axis=0)
    if under:
        place = actor.where("ball" + side)
        prop.shift(np.array([place[0] - centre[0], 0.0, place[2] - centre[2]]))
        direction = np.array([0.0, -1.0, 0.0])
        foot = actor.vertices[part_vertices(f"{hand} foot")]
        gap = float(first_hits(foot + 0.1 * -direction, direction, prop.triangles).min()) - 0.1
        if not np.isfinite(gap) or abs(gap) > 0.04:
            raise Missed("the sole misses the ball")
        # The knee bends by the little that is missing.
        targets = actor.targets()
        actor.plant(targets, other, np.array([-sign * 0.08 * size, 0.0, 0.0]), 0.0, weight=0.0)
        targets.point("ball" + side, actor.where("ball" + side) + (gap + 0.007) * direction)
        actor.solve(targets, tuple(name for name in LEGS if name.endswith(side)), stiffness=0.01)
    else:
        place = actor.where("toe" + side)
        direction = np.array([0.0, 0.0, 1.0])
        prop.shift(np.array([place[0] - centre[0], 0.0, place[2] + 0.3 - centre[2]]))
        prop.stand_on(0.0)
        foot = actor.vertices[part_vertices(f"{hand} foot")]
        gap = float(first_hits(foot, direction, prop.triangles).min())
        if not np.isfinite(gap):
            raise Missed("the toes miss the ball")
        prop.shift(-(gap + 0.009) * direction)
    actor.look(prop.vertices.mean(axis=0) + np.array([0.0, 0.3, 0.6]))


KICK = Template(
    name="kick",
    share=1.0,
    categories=("sports ball",),
    play=_play,
    needs=("kick",),
    touching=lambda hand: {0: ((f"{hand} foot",),)},
    only=lambda hand: {0: (f"{hand} foot", f"{hand} leg")},
    hands=("left", "right"),
)
