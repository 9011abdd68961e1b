"""How large a found object is: its own metric size, else its category's usual one (paper section 5)."""

from __future__ import annotations

from dataclasses import dataclass

from interactvlm.errors import InputError
from interactvlm.objects.categories import category
from interactvlm.retrieval.rows import TableRow

__all__ = ["SizeEstimate", "size_of"]


@dataclass(frozen=True, slots=True)
class SizeEstimate:
    """Largest extent of an object.

    Attributes:
        mean: metres; 0 where nothing is known.
        spread: standard deviation, metres; 0 where the size is the mesh's own.
        source: "mesh", "category" (the prior), or "" where nothing is known.
    """

    mean: float
    spread: float
    source: str


def size_of(row: TableRow) -> SizeEstimate:
    """The size of a row's object: Objaverse's meshes, for one, have no unit."""
    if row.extent_metres > 0:
        return SizeEstimate(row.extent_metres, 0.0, "mesh")
    try:
        prior = category(row.category)
    except InputError:
        return SizeEstimate(0.0, 0.0, "")
    return SizeEstimate(prior.size_mean, prior.size_spread, "category")
