"""Interaction templates: how a person deals with a thing."""

from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.boards import RIDE_ON, SHOES, SKI, STAND_ON
from interactvlm.synthesis.templates.both import BOTH
from interactvlm.synthesis.templates.feet import KICK
from interactvlm.synthesis.templates.hold import HOLD
from interactvlm.synthesis.templates.idle import IDLE
from interactvlm.synthesis.templates.lie import LIE
from interactvlm.synthesis.templates.sit import SIT_ON
from interactvlm.synthesis.templates.tables import LEAN, PUSH, SIT_HOLD, TYPE, TYPE_LAP
from interactvlm.synthesis.templates.wear import CARRY_BACK, CARRY_HEAD, CARRY_SHOULDER, WEAR_FACE, WEAR_HEAD, WEAR_NECK

__all__ = ["TEMPLATES", "Template"]

TEMPLATES: tuple[Template, ...] = (
    *(HOLD, BOTH, SIT_ON, SIT_HOLD, LIE, STAND_ON, SKI, RIDE_ON, TYPE, TYPE_LAP, LEAN, PUSH, KICK),
    *(CARRY_BACK, CARRY_SHOULDER, CARRY_HEAD, WEAR_HEAD, WEAR_FACE, WEAR_NECK, SHOES, IDLE),
)
"""Every way of dealing with things; a scene draws one by its share."""
