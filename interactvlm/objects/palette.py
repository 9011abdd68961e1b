"""Everyday colours of materials, chosen and varied by a random generator."""

from __future__ import annotations

import numpy as np

__all__ = ["Colour", "any_colour", "metal", "paint", "wood"]

#: RGB in [0, 1].
Colour = tuple[float, float, float]

_WOOD: tuple[Colour, ...] = ((0.62, 0.44, 0.27), (0.42, 0.27, 0.16), (0.78, 0.62, 0.42), (0.30, 0.20, 0.13))
_METAL: tuple[Colour, ...] = ((0.70, 0.71, 0.73), (0.50, 0.51, 0.53), (0.28, 0.28, 0.30), (0.82, 0.80, 0.74))
_PAINT: tuple[Colour, ...] = (
    *((0.80, 0.12, 0.12), (0.10, 0.25, 0.65), (0.10, 0.48, 0.20), (0.95, 0.78, 0.12), (0.95, 0.50, 0.10)),
    *((0.93, 0.93, 0.90), (0.08, 0.08, 0.09), (0.45, 0.45, 0.47), (0.45, 0.18, 0.50), (0.10, 0.55, 0.60)),
    *((0.85, 0.45, 0.60), (0.55, 0.75, 0.90)),
)


def wood(rng: np.random.Generator) -> Colour:
    """A wood."""
    return _varied(_WOOD, rng, 0.06)


def metal(rng: np.random.Generator) -> Colour:
    """A metal."""
    return _varied(_METAL, rng, 0.04)


def paint(rng: np.random.Generator) -> Colour:
    """A paint, plastic or fabric: often vivid."""
    return _varied(_PAINT, rng, 0.08)


def any_colour(base: Colour, rng: np.random.Generator, spread: float = 0.06) -> Colour:
    """A colour near `base`."""
    return _varied((base,), rng, spread)


def _varied(colours: tuple[Colour, ...], rng: np.random.Generator, spread: float) -> Colour:
    base = np.array(colours[int(rng.integers(len(colours)))])
    # Brightness varies more than hue does.
    red, green, blue = np.clip(base + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 0.02, 0.98)
    return float(red), float(green), float(blue)
