"""What a detector is: a photo in, labelled boxes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from interactvlm.types import Box

__all__ = ["PERSON", "Detection", "Detector"]

PERSON = "person"
"""The label of people, which every detector must use."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing found in a photo.

    Attributes:
        label: everyday English name, lower case ("person", "coffee cup").
        score: in [0, 1].
        box: where, clipped to the photo.
    """

    label: str
    score: float
    box: Box


class Detector(Protocol):
    """Finds people and objects. Implementations may be called from several threads."""

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Everything found in `photo` (RGB uint8 [H, W, 3], upright), best score first."""
        ...
