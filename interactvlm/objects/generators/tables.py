"""Tables and desks; the user sits at -z and looks along +z."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import metal, paint, wood
from interactvlm.objects.primitives import box, lathe, oval, prism, rod

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)


def _table(rng: np.random.Generator, wide: float, deep: float, height: float, *, round_share: float) -> Shape:
    shape = Shape()
    thick = rng.uniform(0.02, 0.05)
    board = wood(rng) if rng.random() < 0.7 else paint(rng)
    frame = metal(rng) if rng.random() < 0.4 else board
    if rng.random() < round_share:
        wide = deep = (wide + deep) / 2
        shape.add(prism(oval(wide, deep, 28), thick, board, bevel=0.005).moved(y=height - thick))
        if rng.random() < 0.5:
            foot = wide * 0.28
            profile = [(0, 0), (foot, 0), (foot, 0.02), (0.05, 0.05), (0.04, height - thick), (0, height - thick)]
            shape.add(lathe(profile, frame))
        else:
            for sx in (-1, 1):
                for sz in (-1, 1):
                    shape.add(
                        rod(
                            (sx * wide * 0.33, 0, sz * wide * 0.33),
                            (sx * wide * 0.27, height - 0.01, sz * wide * 0.27),
                            0.022,
                            frame,
                        )
                    )
    else:
        shape.add(box((wide, thick, deep), board, bevel=0.004).moved(y=height - thick))
        leg = rng.uniform(0.04, 0.075)
        for sx in (-1, 1):
            for sz in (-1, 1):
                x, z = sx * (wide / 2 - leg), sz * (deep / 2 - leg)
                shape.add(box((leg, height - thick / 2, leg), frame).moved(x, 0, z))
            shape.add(box((0.02, 0.07, deep - 2 * leg), frame).moved(sx * (wide / 2 - leg), height - thick - 0.068))
        for sz in (-1, 1):
            shape.add(box((wide - 2 * leg, 0.07, 0.02), frame).moved(0, height - thick - 0.068, sz * (deep / 2 - leg)))
    shape.anchor("top", (0, height, -deep / 2 + min(0.2, deep * 0.3)), UP, FRONT, min(wide, deep) / 2)
    shape.anchor("stand", (0, height, 0), UP, FRONT, min(wide, deep) / 2)
    shape.anchor("seat", (0, height, -deep / 2 + 0.17), UP, (0, 0, -1), 0.2)
    shape.anchor("push", (0, height - thick / 2, -deep / 2), (0, 0, -1), UP, wide / 2)
    return shape


def dining_table(rng: np.random.Generator) -> Shape:
    """A table for a meal."""
    return _table(rng, rng.uniform(1.1, 1.8), rng.uniform(0.75, 0.95), rng.uniform(0.72, 0.77), round_share=0.3)


def table(rng: np.random.Generator) -> Shape:
    """A low or small table."""
    return _table(rng, rng.uniform(0.55, 1.1), rng.uniform(0.5, 0.65), rng.uniform(0.42, 0.62), round_share=0.4)


def desk(rng: np.random.Generator) -> Shape:
    """A desk with drawers under one side."""
    wide, deep, height = rng.uniform(1.1, 1.6), rng.uniform(0.6, 0.8), rng.uniform(0.72, 0.76)
    shape = _table(rng, wide, deep, height, round_share=0.0)
    colour = shape.parts[0].colour
    side = 1 if rng.random() < 0.5 else -1
    x = side * (wide / 2 - 0.26)
    shape.add(box((0.36, height - 0.16, deep * 0.8), colour).moved(x, 0.1, 0.02))
    for y in (0.14, 0.33, 0.5):
        shape.add(box((0.32, 0.15, 0.015), colour).moved(x, y, -deep * 0.4 + 0.015))
        shape.add(
            rod((x - 0.05, y + 0.09, -deep * 0.4 - 0.002), (x + 0.05, y + 0.09, -deep * 0.4 - 0.002), 0.006, metal(rng))
        )
    return shape


GENERATORS = {"dining table": dining_table, "table": table, "desk": desk}
