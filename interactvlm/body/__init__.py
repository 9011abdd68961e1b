"""Body templates, their parts, and the maps between their vertex orders."""

from interactvlm.body.parts import PART_NAMES, parts_in_contact, vertices_of_parts
from interactvlm.body.template import BodyTemplate, load_template

__all__ = ["PART_NAMES", "BodyTemplate", "load_template", "parts_in_contact", "vertices_of_parts"]
