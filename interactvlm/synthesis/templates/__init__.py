"""Interaction templates: how a person deals with a thing."""

from interactvlm.synthesis.templates.base import Template
from interactvlm.synthesis.templates.boards import RIDE_ON, SKI, STAND_ON
from interactvlm.synthesis.templates.hold import HOLD
from interactvlm.synthesis.templates.idle import IDLE
from interactvlm.synthesis.templates.sit import LIE, SIT_ON

__all__ = ["TEMPLATES", "Template"]

TEMPLATES: tuple[Template, ...] = (HOLD, SIT_ON, LIE, STAND_ON, SKI, RIDE_ON, IDLE)
"""Every way of dealing with things; a scene draws one by its share."""
