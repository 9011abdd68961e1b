"""Body parts: the fifteen names of the answers, and the way from vertices to names and back.

A part is named when at least a tenth of its vertices are in contact (paper, section 3: the text of the contact data).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError

__all__ = ["CONTACT_FRACTION", "PART_NAMES", "part_fractions", "parts_in_contact", "vertices_of_parts"]

PART_NAMES: tuple[str, ...] = (
    "torso",
    "hips",
    "head",
    "left hand",
    "right hand",
    "left foot",
    "right foot",
    "left arm",
    "right arm",
    "left forearm",
    "right forearm",
    "left thigh",
    "right thigh",
    "left leg",
    "right leg",
)
"""The parts in the order in which answers name them; left and right are the person's own."""

CONTACT_FRACTION = 0.1
"""Share of a part's vertices that must be in contact for the part to be named."""


def part_fractions(contact: NDArray[np.bool_], part_index: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of each part's vertices that are in contact.

    Args:
        contact: bool [V].
        part_index: uint8 [V], indices into PART_NAMES.

    Returns:
        float64 [15] in [0, 1]; 0 for a part without vertices.

    Raises:
        InputError: when the two lengths differ.
    """
    if contact.shape != part_index.shape:
        raise InputError("contact", f"has shape {contact.shape}, the body has {len(part_index)} vertices")
    total = np.bincount(part_index, minlength=len(PART_NAMES))
    touched = np.bincount(part_index[contact.astype(bool)], minlength=len(PART_NAMES))
    return np.asarray(touched / np.maximum(total, 1), dtype=np.float64)


def parts_in_contact(contact: NDArray[np.bool_], part_index: NDArray[np.uint8]) -> tuple[str, ...]:
    """Names of the parts in contact, in the order of PART_NAMES.

    Args:
        contact: bool [V], probabilities already thresholded.
        part_index: uint8 [V], indices into PART_NAMES.

    Raises:
        InputError: when the two lengths differ.
    """
    # Counting is exact in integers; the tolerance keeps 1 of 10 vertices on the named side of 0.1.
    fractions = part_fractions(contact, part_index)
    return tuple(
        name
        for name, share in zip(PART_NAMES, fractions, strict=True)
        if share > 0 and share >= CONTACT_FRACTION - 1e-9
    )


def vertices_of_parts(names: Iterable[str], part_index: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask of all vertices of the named parts.

    Args:
        names: any of PART_NAMES.
        part_index: uint8 [V], indices into PART_NAMES.

    Returns:
        bool [V].

    Raises:
        InputError: for a name that is no part.
    """
    chosen = []
    for name in names:
        if name not in PART_NAMES:
            raise InputError("part", f"{name!r} is none of {', '.join(PART_NAMES)}")
        chosen.append(PART_NAMES.index(name))
    return np.isin(part_index, np.array(chosen, dtype=np.uint8))
