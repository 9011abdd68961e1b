"""Beds."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, paint, wood
from interactvlm.objects.primitives import box

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)


def bed(rng: np.random.Generator) -> Shape:
    """A bed, its head at -z: frame, mattress, blanket, pillows, headboard."""
    shape = Shape()
    wide, long = float(rng.choice([rng.uniform(0.9, 1.05), rng.uniform(1.4, 1.8)])), rng.uniform(2.0, 2.15)
    height, thick = rng.uniform(0.42, 0.56), rng.uniform(0.16, 0.24)
    frame, sheet, cover = wood(rng), any_colour((0.92, 0.92, 0.90), rng, 0.04), paint(rng)
    base = height - thick
    shape.add(box((wide + 0.05, base * 0.45, long + 0.05), frame).moved(y=base * 0.6))
    for sx in (-1, 1):
        for sz in (-1, 1):
            shape.add(box((0.06, base * 0.7, 0.06), frame).moved(sx * (wide / 2 - 0.02), 0, sz * (long / 2 - 0.02)))
    shape.add(box((wide, thick, long), sheet, corner=0.06, bevel=0.03).moved(y=base))
    blanket = rng.uniform(0.5, 0.68) * long
    shape.add(
        box((wide + 0.03, thick * 0.8, blanket), cover, corner=0.05, bevel=0.03).moved(
            0, height - thick * 0.8 + 0.015, (long - blanket) / 2 + 0.01
        )
    )
    pillows = 1 if wide < 1.2 else 2
    for index in range(pillows):
        x = (index - (pillows - 1) / 2) * wide / pillows
        pillow = box((min(wide / pillows * 0.8, 0.7), 0.1, 0.4), sheet, corner=0.1, bevel=0.045)
        shape.add(pillow.moved(x, height - 0.015, -long / 2 + 0.26))
    shape.add(box((wide + 0.06, height + rng.uniform(0.25, 0.55), 0.05), frame, corner=0.02).moved(z=-long / 2 - 0.04))
    x = 0.0 if pillows == 1 else wide / 4
    top = height + 0.015
    shape.anchor("lie", (x, top, 0.05), UP, (0, 0, -1), wide / 2)
    shape.anchor("seat", (wide / 2 - 0.12, top, 0.25), UP, (1, 0, 0), 0.25)
    return shape


GENERATORS = {"bed": bed}
