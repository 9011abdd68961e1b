"""Surfaces as rows of numbers, the form in which the shading kernel reads them. Colours are linear RGB."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHECKS", "COLUMNS", "DOTS", "PATCHES", "PLAIN", "STRIPES", "Material", "linear", "random_colour", "table"]

PLAIN, STRIPES, CHECKS, DOTS, PATCHES = range(5)
#: Numbers a row.
COLUMNS = 17

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Material:
    """How one surface looks.

    Attributes:
        colour: linear RGB.
        second: the pattern's other colour.
        pattern: PLAIN, STRIPES, CHECKS, DOTS or PATCHES.
        frequency: periods of the pattern a metre.
        axis: direction across the stripes, unit length, in texture coordinates.
        grain: relative spread of brightness.
        grain_frequency: its noise samples a metre.
        specular: strength of the highlight.
        gloss: exponent of the highlight.
        bump: how much noise tilts the normal (wrinkles).
        vertex_colours: share of the mesh's own colours in the result.
    """

    colour: Colour
    second: Colour = (0.0, 0.0, 0.0)
    pattern: int = PLAIN
    frequency: float = 1.0
    axis: tuple[float, float, float] = (0.0, 1.0, 0.0)
    grain: float = 0.1
    grain_frequency: float = 60.0
    specular: float = 0.05
    gloss: float = 20.0
    bump: float = 0.0
    vertex_colours: float = 0.0

    def row(self) -> list[float]:
        """The numbers in the kernel's order."""
        return [
            *self.colour,
            *self.second,
            float(self.pattern),
            self.frequency,
            *self.axis,
            self.grain,
            self.grain_frequency,
            self.specular,
            self.gloss,
            self.bump,
            self.vertex_colours,
        ]


def table(materials: list[Material]) -> NDArray[np.float32]:
    """Float32 [M, COLUMNS]."""
    return np.array([material.row() for material in materials], dtype=np.float32).reshape(-1, COLUMNS)


def linear(srgb: NDArray[np.floating] | Colour) -> NDArray[np.float32]:
    """Linear values of sRGB in [0, 1] (gamma 2.2: nobody measures these pictures)."""
    return np.asarray(srgb, dtype=np.float32) ** np.float32(2.2)


def random_colour(
    rng: np.random.Generator, *, vivid: float = 0.45, bright: tuple[float, float] = (0.08, 0.95)
) -> Colour:
    """A colour as things are coloured: greys, muted and, with probability `vivid`, strong ones; linear RGB."""
    kind = rng.random()
    value = rng.uniform(*bright)
    if kind < vivid:
        saturation, value = rng.uniform(0.5, 0.92), max(value, 0.35)
    elif kind < vivid + 0.35 * (1 - vivid):
        saturation = rng.uniform(0.0, 0.08)
    else:
        saturation = rng.uniform(0.08, 0.42)
    r, g, b = linear(colorsys.hsv_to_rgb(rng.random(), saturation, value)).tolist()
    return (r, g, b)
