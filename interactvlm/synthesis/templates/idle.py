"""Nobody touches anything: standing or walking among things."""

from __future__ import annotations

from interactvlm.synthesis.stage import Stage
from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.stance import take_stance

__all__ = ["IDLE"]


def _play(stage: Stage, category: str, hand: str) -> None:
    take_stance(stage)
    articulated = {"neck_turn": stage.normal(0, 30), "neck_nod": stage.normal(4, 8)}
    if stage.chance(0.4):
        side = stage.choose((".L", ".R"))
        articulated |= {"arm_swing" + side: stage.uniform(-20, 90), "elbow" + side: stage.uniform(-30, 60)}
        articulated |= {"arm_raise" + side: stage.uniform(-20, 60)}
    stage.actor.set_angles(articulated)


IDLE = Template(name="no_contact", share=2.0, categories=(), play=_play)
