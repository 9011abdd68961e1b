"""Objects with the places where people meet them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh

__all__ = ["ANCHOR_NAMES", "Anchor", "ObjectModel", "object_for"]

#: Every name an anchor may have, with what its `direction` and `radius` mean.
ANCHOR_NAMES: Mapping[str, str] = {
    "seat": "sit: normal up, direction where the sitter looks, radius half the seat's smaller side",
    "back": "lean back: normal towards the sitter, direction up, radius half the rest's height",
    "lie": "lie: normal up, direction from feet to head, radius half the width",
    "stand": "stand: normal up, direction where one looks, radius of the free surface",
    "deck_front": "front foot on a board: normal up, direction to the nose, radius half the deck's width",
    "deck_back": "rear foot on a board: like deck_front",
    "foot_left": "left foot on or in a thing of its own (ski, shoe): normal up, direction to the tip",
    "foot_right": "right foot: like foot_left",
    "grip": "one hand: normal where the palm comes from, direction along the handle to the thumb's side, its radius",
    "grip_left": "left hand of two: like grip",
    "grip_right": "right hand of two: like grip",
    "saddle": "ride: normal up, direction where the rider looks, radius half the width",
    "pedal_left": "left foot: normal up, direction to the front, radius half the width",
    "pedal_right": "right foot: like pedal_left",
    "handlebar_left": "left hand: normal up and to the rider, direction outwards along the bar, the bar's radius",
    "handlebar_right": "right hand: like handlebar_left",
    "strap": "the side that rests on the carrier's back or hangs from a shoulder: normal to the body, direction up",
    "wear": "where the wearer is: normal from the body out of the thing, direction the wearer's front",
    "top": "lean on, type on, eat from: normal up (or out), direction away from the user, radius of the free surface",
    "rim": "to the mouth: normal out of the rim or tip, direction away from the drinker's hand",
    "ear": "to the ear: normal to the head, direction to the top",
    "push": "both hands push: normal to the pusher, direction up, radius half the width",
    "kick": "foot or hand strikes: normal against the blow, direction of the blow",
}


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """One place on an object where a body may meet it, in the object's frame.

    Attributes:
        position: float64 [3], metres, on the surface.
        normal: float64 [3], unit, out of the surface: where the body comes from.
        direction: float64 [3], unit, at right angles to the normal: see `ANCHOR_NAMES`.
        radius: metres: of the handle for grips and handlebars (its axis runs through position - radius normal, along
            the direction), of the free surface around the position for all others.
    """

    position: NDArray[np.float64]
    normal: NDArray[np.float64]
    direction: NDArray[np.float64]
    radius: float


@dataclass(frozen=True, slots=True, eq=False)
class ObjectModel:
    """One instance of a category.

    Attributes:
        source: how to build it again: "catalogue/<id>" or "generator/<category>/<seed>".
        category: canonical category name.
        mesh: with vertex colours, metres: +y up, +z its front, origin at the centre of its bounding box's floor.
        anchors: by name (`ANCHOR_NAMES`).
    """

    source: str
    category: str
    mesh: Mesh
    anchors: Mapping[str, Anchor]


@lru_cache(maxsize=512)
def object_for(source: str) -> ObjectModel:
    """The object that a source names; the same on every machine.

    Args:
        source: "catalogue/<id>" or "generator/<category>/<seed>".

    Raises:
        InputError: no such object.
    """
    kind, _, rest = source.partition("/")
    # Imported late: both make what this module defines.
    if kind == "catalogue" and rest:
        from interactvlm.objects.catalogue import catalogue_model

        return catalogue_model(rest)
    category, _, seed = rest.rpartition("/")
    if kind == "generator" and category and seed.isdecimal():
        from interactvlm.objects.generators import generate

        return generate(category, int(seed))
    raise InputError("source", f"is {source!r}; objects are catalogue/<id> or generator/<category>/<seed>")
