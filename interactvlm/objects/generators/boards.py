"""Things to stand on: snowboard, skateboard, surfboard, skis and their poles. Noses point to +z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import Colour, any_colour, metal, paint
from interactvlm.objects.primitives import Part, box, lathe, loft, rod

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
BLACK = (0.07, 0.07, 0.08)


def _plank(
    length: float,
    widths: Sequence[float],
    heights: Sequence[float],
    thick: float,
    colour: Colour,
    *,
    crown: float = 0.0,
) -> Part:
    """A board along z with its deck at y = heights + thick; widths and heights are given from tail to nose."""
    stations = np.linspace(-1, 1, 33)
    marks = np.linspace(-1, 1, len(widths))
    half = np.interp(stations, marks, widths) / 2
    # Round ends: a superellipse over the last tenth.
    tip = np.clip((np.abs(stations) - 0.86) / 0.14, 0, 1)
    half = np.maximum(half * np.sqrt(1 - 0.97 * tip**2.2), 0.004)
    lift = np.interp(stations, np.linspace(-1, 1, len(heights)), heights)
    across = np.array([-1, -0.5, 0, 0.5, 1, 0.5, 0, -0.5])
    upper = np.array([0.5, 1, 1, 1, 0.5, 0, 0, 0])
    dome = np.array([0, 0.6, 1, 0.6, 0, 0, 0, 0])
    rings = np.empty((33, 8, 3))
    rings[..., 0] = half[:, None] * across
    rings[..., 1] = lift[:, None] + thick * upper + crown * dome * (half / half.max())[:, None]
    rings[..., 2] = stations[:, None] * length / 2
    return loft(rings, colour)


def snowboard(rng: np.random.Generator) -> Shape:
    """A snowboard with two bindings."""
    shape = Shape()
    length, width, thick = rng.uniform(1.42, 1.64), rng.uniform(0.24, 0.28), 0.012
    waist = width * 0.86
    heights = (0.09, 0.015, 0.0, 0.0, 0.0, 0.0, 0.015, 0.09)
    shape.add(_plank(length, (width, width, waist, width, width), heights, thick, paint(rng)))
    colour, stance = any_colour(BLACK, rng), rng.uniform(0.24, 0.29)
    for name, z in (("deck_front", stance), ("deck_back", -stance)):
        shape.add(box((waist * 0.95, 0.02, 0.12), colour, corner=0.03).moved(0, thick - 0.001, z))
        shape.add(box((0.02, 0.16, 0.10), colour, corner=0.008).moved(-waist * 0.44, thick, z))
        shape.anchor(name, (0.01, thick + 0.019, z), UP, FRONT, waist / 2)
    return shape


def skateboard(rng: np.random.Generator) -> Shape:
    """A skateboard: a deck with kicked ends on two trucks."""
    shape = Shape()
    length, width, thick = rng.uniform(0.72, 0.84), rng.uniform(0.19, 0.22), 0.012
    wheel = rng.uniform(0.026, 0.032)
    deck = wheel * 2 + 0.035
    heights = tuple(deck + h for h in (0.055, 0.02, 0, 0, 0, 0, 0.02, 0.055))
    shape.add(_plank(length, (width * 0.92, width, width, width, width * 0.92), heights, thick, paint(rng)))
    axle, rubber = metal(rng), any_colour((0.9, 0.88, 0.8), rng)
    for z in (length * 0.29, -length * 0.29):
        shape.add(box((0.05, deck - wheel, 0.07), axle).moved(0, wheel + 0.002, z))
        shape.add(rod((-width / 2 + 0.01, wheel, z), (width / 2 - 0.01, wheel, z), 0.008, axle))
        for side in (-1, 1):
            x = side * (width / 2 - 0.02)
            part = lathe(
                [(0, -0.016), (wheel * 0.8, -0.016), (wheel, -0.008), (wheel, 0.008), (wheel * 0.8, 0.016), (0, 0.016)],
                rubber,
                sides=14,
            )
            shape.add(part.turned("z", 90).moved(x, wheel, z))
    for name, z in (("deck_front", length * 0.22), ("deck_back", -length * 0.3)):
        y = float(np.interp(z / (length / 2), np.linspace(-1, 1, 8), heights)) + thick
        shape.anchor(name, (0, y, z), UP, FRONT, width / 2)
    shape.grip("grip", (0, deck + thick / 2, length * 0.02), (0, 1, 0), FRONT, thick / 2)
    return shape


def surfboard(rng: np.random.Generator) -> Shape:
    """A surfboard with fins: short and pointed or long and round."""
    shape = Shape()
    long = rng.random() < 0.5
    length = rng.uniform(2.3, 2.7) if long else rng.uniform(1.7, 2.1)
    width, thick = rng.uniform(0.48, 0.58), rng.uniform(0.05, 0.065)
    nose = 0.75 if long else 0.35
    widths = (width * 0.55, width * 0.85, width, width * 0.97, width * (nose + 0.15), width * nose * 0.6)
    heights = (0.03, 0.01, 0, 0, 0.01, 0.04, 0.12)
    colour = paint(rng)
    shape.add(_plank(length, widths, heights, thick, colour, crown=0.008).moved(y=0.09))
    for x, z, tall in ((0, -0.42, 0.10), (0.14, -0.36, 0.08), (-0.14, -0.36, 0.08)):
        root = z * length
        fin = np.array([[0.06, 0.02], [-0.06, 0.02], [-0.09, -tall], [-0.05, -tall * 0.8]])
        rings = np.stack(
            [np.stack([np.full(4, x + side), fin[:, 1] + 0.09, fin[:, 0] + root], axis=1) for side in (-0.005, 0.005)]
        )
        shape.add(loft(rings, any_colour(BLACK, rng)))
    deck = 0.09 + thick + 0.008
    for name, z in (("deck_front", 0.08 * length), ("deck_back", -0.22 * length)):
        shape.anchor(name, (0, deck, z), UP, FRONT, width / 2)
    shape.anchor("lie", (0, deck, 0), UP, FRONT, width / 2)
    shape.anchor("grip", (width * 0.495, 0.09 + thick * 0.5, 0), (1, 0, 0), FRONT, thick / 2)
    return shape


def skis(rng: np.random.Generator) -> Shape:
    """A pair of skis side by side with their bindings, the left one at +x."""
    shape = Shape()
    length, width, thick = rng.uniform(1.5, 1.8), rng.uniform(0.085, 0.11), 0.014
    apart, colour, dark = rng.uniform(0.12, 0.16), paint(rng), any_colour(BLACK, rng)
    heights = (0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.02, 0.14)
    for name, x in (("foot_left", apart), ("foot_right", -apart)):
        ski = _plank(length, (width, width * 0.8, width * 0.72, width * 0.85, width), heights, thick, colour)
        shape.add(ski.moved(x=x))
        for z in (0.12, -0.16):
            shape.add(box((width * 0.6, 0.045, 0.07), dark, corner=0.01, bevel=0.01).moved(x, thick - 0.001, z))
        shape.add(box((width * 0.7, 0.02, 0.34), dark, corner=0.01).moved(x, thick - 0.001, -0.02))
        shape.anchor(name, (x, thick + 0.019, -0.02), UP, FRONT, width / 2)
    return shape


def ski_poles(rng: np.random.Generator) -> Shape:
    """A pair of ski poles standing upright, the left one at +x."""
    shape = Shape()
    length, apart = rng.uniform(1.1, 1.3), rng.uniform(0.27, 0.33)
    colour, dark = (paint(rng) if rng.random() < 0.5 else metal(rng)), any_colour(BLACK, rng)
    for name, x in (("grip_left", apart), ("grip_right", -apart)):
        shape.add(rod((x, 0, 0), (x, length - 0.13, 0), (0.005, 0.009), colour))
        shape.add(lathe([(0, 0.07), (0.045, 0.06), (0.045, 0.065), (0, 0.085)], dark, sides=12).moved(x=x))
        handle = [
            (0, length - 0.14),
            (0.015, length - 0.14),
            (0.016, length - 0.03),
            (0.021, length - 0.01),
            (0, length),
        ]
        shape.add(lathe(handle, dark, sides=10).moved(x=x))
        shape.grip(name, (x, length - 0.08, 0), (np.sign(x), 0, 0), UP, 0.0155)
    return shape


GENERATORS = {
    "snowboard": snowboard,
    "skateboard": skateboard,
    "surfboard": surfboard,
    "skis": skis,
    "ski poles": ski_poles,
}
