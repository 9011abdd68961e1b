"""Parametric objects: a category and a seed make a mesh of a metric size with the places where people meet it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np

from interactvlm.errors import InputError
from interactvlm.objects.anchors import ObjectModel
from interactvlm.objects.assembly import Shape
from interactvlm.objects.generators import (
    appliances,
    bags,
    beds,
    boards,
    clubs,
    food,
    handheld,
    playthings,
    pushed,
    rooms,
    seats,
    street,
    tables,
    tableware,
    vehicles,
    wearables,
    wheels,
)

__all__ = ["GENERATORS", "generate"]

#: What builds each category, by its canonical name.
GENERATORS: Mapping[str, Callable[[np.random.Generator], Shape]] = {
    **appliances.GENERATORS,
    **bags.GENERATORS,
    **beds.GENERATORS,
    **boards.GENERATORS,
    **clubs.GENERATORS,
    **food.GENERATORS,
    **handheld.GENERATORS,
    **playthings.GENERATORS,
    **pushed.GENERATORS,
    **rooms.GENERATORS,
    **seats.GENERATORS,
    **street.GENERATORS,
    **tables.GENERATORS,
    **tableware.GENERATORS,
    **vehicles.GENERATORS,
    **wearables.GENERATORS,
    **wheels.GENERATORS,
}


def generate(category: str, seed: int) -> ObjectModel:
    """Build one instance: closed surfaces, vertex colours, anchors; the same on every machine.

    Args:
        category: canonical name ("tennis racket").
        seed: from 0 to 2^32 - 1.

    Raises:
        InputError: nothing builds that category, or the seed is out of range.
    """
    if category not in GENERATORS:
        raise InputError("category", f"is {category!r}; generators build {', '.join(sorted(GENERATORS))}")
    if not 0 <= seed < 2**32:
        raise InputError("seed", f"is {seed}; it runs from 0 to {2**32 - 1}")
    rng = np.random.default_rng([zlib.crc32(category.encode()), seed])
    return GENERATORS[category](rng).model(category, f"generator/{category}/{seed}")
