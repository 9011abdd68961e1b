"""Things on wheels to push: shopping cart, stroller, wheelbarrow. They move to +z; who pushes them stands at -z."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, metal, paint
from interactvlm.objects.primitives import box, ellipsoid, lathe, loft, rectangle, rod, tube

__all__ = ["GENERATORS"]

UP = (0, 1, 0)
DARK = (0.07, 0.07, 0.08)


def _bar_anchors(shape: Shape, x: float, y: float, z: float, radius: float) -> None:
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.grip(name, (side * x, y, z), (0, 1, -0.5), (-side, 0, 0), radius)
    shape.anchor("push", (0, y, z - radius), (0, 0, -1), UP, x)


def shopping_cart(rng: np.random.Generator) -> Shape:
    """A supermarket trolley."""
    shape = Shape()
    long, wide, tall, steel = rng.uniform(0.75, 0.9), rng.uniform(0.5, 0.58), rng.uniform(0.98, 1.06), metal(rng)
    low, h = 0.45, long / 2
    for y, share in ((low, 0.82), (low + 0.16, 0.9), (low + 0.33, 0.96), (low + 0.5, 1.0)):
        ring = rectangle(wide * share, long * share, 0.06)
        shape.add(
            tube(np.stack([ring[:, 0], np.full(len(ring), y), ring[:, 1]], axis=1), 0.007, steel, sides=5, closed=True)
        )
    base = rectangle(wide * 0.82, long * 0.82, 0.06)
    shape.add(box((wide * 0.8, 0.006, long * 0.8), any_colour(steel, rng, 0.03)).moved(y=low - 0.003))
    for x, z in base[::2]:
        shape.add(rod((x, low, z), (x / 0.82, low + 0.5, z / 0.82), 0.005, steel))
    for side in (-1, 1):
        x = side * wide * 0.42
        shape.add(
            tube(
                np.array(
                    [
                        [x, 0.12, h],
                        [x, 0.2, h * 0.5],
                        [x, 0.22, -h * 0.9],
                        [x, low, -h * 0.95],
                        [x, tall - 0.012, -h - 0.1],
                    ]
                ),
                0.014,
                steel,
                sides=6,
            )
        )
        for z in (h, -h * 0.85):
            shape.add(rod((x - 0.015, 0.06, z), (x + 0.015, 0.06, z), 0.06, DARK))
            shape.add(rod((x, 0.06, z), (x, 0.2, z * 0.95), 0.01, steel))
    shape.add(rod((-wide * 0.45, tall - 0.015, -h - 0.1), (wide * 0.45, tall - 0.015, -h - 0.1), 0.016, paint(rng)))
    _bar_anchors(shape, wide * 0.3, tall - 0.015, -h - 0.1, 0.016)
    return shape


def stroller(rng: np.random.Generator) -> Shape:
    """A pram: a seat with a hood on four wheels; the pusher stands at -z."""
    shape = Shape()
    tall, wide, steel, cloth = rng.uniform(0.98, 1.08), rng.uniform(0.44, 0.52), metal(rng), paint(rng)
    shape.add(box((wide * 0.86, 0.08, 0.36), cloth, corner=0.05, bevel=0.02).moved(0, 0.46, 0.08))
    shape.add(box((wide * 0.86, 0.46, 0.06), cloth, corner=0.03, bevel=0.02).turned("x", -24).moved(0, 0.48, -0.1))
    hood = ellipsoid((wide * 0.46, 0.24, 0.27), any_colour(cloth, rng, 0.1), sides=16)
    cut = hood.vertices.copy()
    cut[:, 1] = np.maximum(cut[:, 1], 0.04)
    shape.add(type(hood)(cut, hood.faces, hood.colour).moved(0, 0.76, -0.17))
    for side in (-1, 1):
        x = side * wide / 2
        shape.add(rod((x, 0.11, 0.42), (x, tall - 0.02, -0.48), 0.014, steel))
        shape.add(rod((x, 0.11, -0.32), (x, 0.56, 0.06), 0.014, steel))
        for z in (0.42, -0.32):
            shape.add(rod((x - 0.02, 0.11, z), (x + 0.02, 0.11, z), 0.11, DARK))
    shape.add(rod((-wide / 2, 0.11, -0.32), (wide / 2, 0.11, -0.32), 0.01, steel))
    shape.add(rod((-wide / 2, 0.50, 0.04), (wide / 2, 0.50, 0.04), 0.01, steel))
    shape.add(rod((-wide / 2, tall - 0.02, -0.48), (wide / 2, tall - 0.02, -0.48), 0.017, DARK))
    _bar_anchors(shape, wide * 0.32, tall - 0.02, -0.48, 0.017)
    return shape


def wheelbarrow(rng: np.random.Generator) -> Shape:
    """A wheelbarrow; who lifts it stands between its handles at -z."""
    shape = Shape()
    tray, steel = paint(rng), metal(rng)
    low, wide, long = 0.32, rng.uniform(0.52, 0.62), rng.uniform(0.75, 0.9)
    rings = []
    for y, share in ((low, 0.55), (low + 0.24, 1.0), (low + 0.24, 0.96), (low + 0.015, 0.52)):
        outline = rectangle(wide * share, long * share, 0.06)
        rings.append(np.stack([outline[:, 0], np.full(len(outline), y), outline[:, 1] + 0.1], axis=1))
    shape.add(loft(np.stack(rings), tray))
    front = long / 2 + 0.12
    shape.add(
        lathe([(0, -0.04), (0.16, -0.04), (0.19, 0), (0.16, 0.04), (0, 0.04)], DARK, sides=16)
        .turned("z", 90)
        .moved(0, 0.19, front)
    )
    shape.add(rod((-0.12, 0.19, front), (0.12, 0.19, front), 0.012, steel))
    back = -rng.uniform(0.85, 0.95)
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        start, end = np.array([side * 0.1, 0.19, front]), np.array([side * 0.3, 0.58, back])
        shape.add(rod(start, end, 0.016, steel))
        hold = end + (start - end) * 0.09
        shape.add(rod(end, hold, 0.02, DARK))
        shape.add(rod((side * 0.22, 0, -0.32), (side * 0.2, 0.4, -0.2), 0.014, steel))
        shape.grip(name, (end + hold) / 2, (0, 1, -0.1), start - end, 0.02)
    return shape


GENERATORS = {"shopping cart": shopping_cart, "stroller": stroller, "wheelbarrow": wheelbarrow}
