"""How the rest of the body is while the hands are busy: standing, striding, crouching."""

from __future__ import annotations

from interactvlm.synthesis.poses import CROUCH, STAND, STRIDE
from interactvlm.synthesis.stage import Missed, Stage

__all__ = ["take_stance"]


def take_stance(stage: Stage, *, calm: bool = False) -> None:
    """Stand on the floor in one of many ways.

    Args:
        stage: with the actor.
        calm: no wide steps and no crouching.

    Raises:
        Missed: when the feet do not get to the floor.
    """
    actor = stage.actor
    size = actor.leg_length
    kind = "stand" if calm else stage.choose(("stand", "stand", "stand", "stride", "crouch"))
    width = stage.uniform(0.09, 0.2) * size / 0.9
    if kind == "stand":
        actor.assume(STAND, 0.3)
        step = stage.uniform(-0.12, 0.12) * size
    elif kind == "stride":
        actor.assume(STRIDE, 0.25)
        step = stage.uniform(0.25, 0.45) * size
        if stage.chance(0.5):
            actor.mirror()
            step = -step
    else:
        actor.assume(CROUCH, 0.25)
        width = stage.uniform(0.15, 0.26) * size / 0.9
        step = stage.uniform(-0.2, 0.2) * size
    actor.pose.turn[:] = 0
    missed = actor.stand((width, step / 2, stage.uniform(0, 22)), (-width, -step / 2, stage.uniform(0, 22)))
    if missed > 0.06:
        raise Missed("the feet do not get to the floor")
    stage.tags["stance"] = kind
