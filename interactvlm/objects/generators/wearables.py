"""Things to wear or to hold over the head: hat, eye glasses, tie, shoes, headphones, umbrella.

Worn things have their front at +z, as the wearer looks.
"""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, metal, paint, wood
from interactvlm.objects.primitives import box, lathe, loft, oval, prism, rod, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
BLACK = (0.07, 0.07, 0.08)


def hat(rng: np.random.Generator) -> Shape:
    """A cap with a peak, a hat with a brim, or a beanie; hollow below."""
    shape = Shape()
    kind = int(rng.integers(3))
    inner, tall, cloth = rng.uniform(0.092, 0.104), rng.uniform(0.09, 0.13), paint(rng)
    outer = inner + 0.004
    arc = np.linspace(0, np.pi / 2, 7)
    dome = [(float(outer * np.cos(a)), float(tall * np.sin(a))) for a in arc]
    hollow = [(float(inner * np.cos(a)), float((tall - 0.004) * np.sin(a))) for a in arc[:-1]]
    if kind == 1:
        brim = inner + rng.uniform(0.05, 0.09)
        crown = [
            (brim, 0.012),
            (brim, 0.016),
            (outer + 0.004, 0.006),
            (outer, tall * 0.5),
            (outer * 0.9, tall * 0.95),
            (outer * 0.6, tall),
            (0, tall * 0.94),
        ]
        inside = [
            (0, tall * 0.93),
            (outer * 0.58, tall - 0.004),
            (inner * 0.88, tall * 0.93),
            (inner, tall * 0.5),
            (inner, 0.002),
        ]
        shape.add(lathe([*inside, *crown], cloth, sides=28))
        band = any_colour(BLACK, rng)
        shape.add(
            tube(
                np.stack(
                    [
                        *(oval(2 * outer, 2 * outer, 24)[:, :1].T),
                        np.full(24, 0.02),
                        oval(2 * outer, 2 * outer, 24)[:, 1],
                    ],
                    axis=1,
                ),
                0.012,
                band,
                sides=6,
                closed=True,
                flat=1.0,
            )
        )
    else:
        shape.add(lathe([(0, tall - 0.004), *reversed(hollow), *dome], cloth, sides=24))
        if kind == 0:
            reach, angle = rng.uniform(0.06, 0.075), np.linspace(-1.15, 1.15, 11)
            edge = np.stack(
                [np.sin(angle) * outer, np.cos(angle) * (outer + reach * np.cos(angle * 1.2).clip(0))], axis=1
            )
            root = np.stack([np.sin(angle) * inner, np.cos(angle) * inner], axis=1)[::-1]
            shape.add(prism(np.concatenate([edge, root]), 0.004, cloth).moved(y=0.004))
    shape.anchor("wear", (0, tall - 0.004 if kind != 1 else tall * 0.93, 0), (0, -1, 0), FRONT, inner)
    shape.anchor("grip", (0, 0.006, outer + 0.05 if kind == 0 else outer), FRONT, (1, 0, 0), 0.003)
    return shape


def eye_glasses(rng: np.random.Generator) -> Shape:
    """Glasses with open temples; lenses to +z."""
    shape = Shape()
    wide, tall, long = rng.uniform(0.132, 0.146), rng.uniform(0.036, 0.05), rng.uniform(0.125, 0.145)
    frame = any_colour(BLACK, rng) if rng.random() < 0.6 else (metal(rng) if rng.random() < 0.5 else paint(rng))
    lens = any_colour((0.12, 0.12, 0.14), rng) if rng.random() < 0.5 else any_colour((0.7, 0.8, 0.85), rng)
    width = wide * 0.4
    for side in (-1, 1):
        x = side * wide * 0.26
        ring = oval(width, tall, 18)
        shape.add(
            tube(
                np.stack([ring[:, 0] + x, ring[:, 1] + tall / 2, np.zeros(18)], axis=1),
                0.002,
                frame,
                sides=6,
                closed=True,
                across=(0, 0, 1),
            )
        )
        glass = prism(oval(width, tall, 18), 0.0016, lens).turned("x", 90).moved(x, tall / 2, -0.0008)
        shape.add(glass)
        hinge = side * wide / 2
        path = np.array(
            [
                [side * (wide * 0.26 + width / 2), tall * 0.65, 0],
                [hinge, tall * 0.68, -0.006],
                [hinge, tall * 0.68, -long * 0.75],
                [hinge, tall * 0.1, -long],
            ]
        )
        shape.add(tube(path, 0.0022, frame, sides=6))
    shape.add(
        rod(
            (-wide * 0.26 + width / 2 - 0.002, tall * 0.62, 0),
            (wide * 0.26 - width / 2 + 0.002, tall * 0.62, 0),
            0.002,
            frame,
        )
    )
    shape.anchor("wear", (0, tall * 0.62, -0.002), (0, 0, -1), UP, wide / 2)
    shape.anchor("grip", (-wide / 2, tall * 0.68 + 0.0, -long * 0.3), (-1, 0, 0), FRONT, 0.0022)
    return shape


def tie(rng: np.random.Generator) -> Shape:
    """A necktie hanging down, its knot at the top, its front at +z."""
    shape = Shape()
    long, wide, cloth = rng.uniform(0.42, 0.52), rng.uniform(0.06, 0.09), paint(rng)
    rows = [(0.002, 0.0), (wide * 0.55, wide * 0.5), (wide / 2, wide * 0.5), (0.016, long)]
    heights = [0.0, wide * 0.5, wide * 0.7, long]
    halves = [0.002, wide / 2, wide / 2, 0.016]
    rings = np.stack(
        [
            np.array([[-h, y, -0.003], [h, y, -0.003], [h, y, 0.003], [-h, y, 0.003]])
            for h, y in zip(halves, heights, strict=True)
        ]
    )
    del rows
    shape.add(loft(rings, cloth))
    shape.add(box((0.042, 0.04, 0.026), cloth, corner=0.008, bevel=0.008).moved(y=long - 0.012))
    shape.anchor("wear", (0, long * 0.5, -0.003), (0, 0, -1), UP, wide / 2)
    shape.anchor("grip", (0, long + 0.01, 0.013), FRONT, UP, 0.013)
    return shape


def shoe(rng: np.random.Generator) -> Shape:
    """A pair of shoes, toes to +z, the left one at +x."""
    shape = Shape()
    long, wide, apart = rng.uniform(0.25, 0.31), rng.uniform(0.09, 0.105), rng.uniform(0.07, 0.1)
    upper, sole = paint(rng), any_colour((0.9, 0.9, 0.88) if rng.random() < 0.5 else BLACK, rng)
    ankle = rng.uniform(0.075, 0.11)
    stations = np.array([-1, -0.92, -0.6, -0.1, 0.25, 0.6, 0.85, 0.97])
    widths = np.array([0.45, 0.68, 0.76, 0.78, 0.9, 1.0, 0.8, 0.35]) * wide / 2
    heights = np.array([0.9, 1.0, 1.0, 0.92, 0.72, 0.5, 0.42, 0.3]) * ankle
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    rings = np.empty((8, 14, 3))
    rings[..., 0] = widths[:, None] * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.7
    rings[..., 1] = 0.02 + heights[:, None] * (0.5 + 0.5 * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.7)
    rings[..., 2] = stations[:, None] * long / 2
    outline = np.concatenate(
        [
            np.stack([widths * 1.06, stations * long / 2], axis=1),
            np.stack([-widths * 1.06, stations * long / 2], axis=1)[::-1],
        ]
    )
    for name, x in (("foot_left", apart), ("foot_right", -apart)):
        shape.add(loft(rings, upper).moved(x=x), prism(outline, 0.025, sole).moved(x=x))
        shape.anchor(name, (x, 0.02 + ankle, -0.6 * long / 2), UP, FRONT, wide / 2)
    shape.anchor("grip", (apart, 0.02 + ankle, -0.75 * long / 2), UP, FRONT, wide / 4)
    return shape


def headphones(rng: np.random.Generator) -> Shape:
    """Headphones standing on their cups, the wearer looking along +z."""
    shape = Shape()
    half, tall = rng.uniform(0.078, 0.088), rng.uniform(0.17, 0.20)
    colour, pad = paint(rng), any_colour(BLACK, rng)
    angle = np.linspace(-0.1, np.pi + 0.1, 13)
    path = np.stack([np.cos(angle) * half, tall - half + np.sin(angle) * half, np.zeros(13)], axis=1)
    shape.add(tube(path, 0.012, colour, sides=8, flat=0.4, across=(0, 1, 0)))
    for side in (-1, 1):
        shape.add(rod((side * half, 0.04, 0), (side * half, tall - half, 0), 0.006, colour))
        cup = lathe([(0, 0), (0.035, 0), (0.036, 0.015), (0.028, 0.024), (0, 0.026)], colour, sides=18)
        cushion = lathe([(0, -0.015), (0.022, -0.016), (0.034, -0.01), (0.036, 0.002), (0, 0.002)], pad, sides=18)
        for part in (cup, cushion):
            shape.add(part.turned("z", -90 * side).moved(side * (half + 0.002), 0.04, 0))
    shape.anchor("wear", (0, tall - 0.005, 0), (0, -1, 0), FRONT, half)
    shape.anchor("grip_left", (half + 0.028, 0.04, 0), (1, 0, 0), UP, 0.03)
    shape.anchor("grip_right", (-half - 0.028, 0.04, 0), (-1, 0, 0), UP, 0.03)
    return shape


def umbrella(rng: np.random.Generator) -> Shape:
    """An open umbrella upright as it is held, its handle below."""
    shape = Shape()
    radius, tall, drop = rng.uniform(0.42, 0.56), rng.uniform(0.78, 0.92), rng.uniform(0.16, 0.24)
    cloth, shaft, handle = paint(rng), metal(rng), (wood(rng) if rng.random() < 0.5 else any_colour(BLACK, rng))
    arc = np.linspace(0, 1, 7)
    outer = [
        (float(radius * np.sin(a * np.pi / 2)), float(tall - drop * (1 - np.cos(a * np.pi / 2)) ** 0.9)) for a in arc
    ]
    inner = [(r, y - 0.004) for r, y in outer]
    shape.add(
        lathe([(0, tall), *outer[1:], *reversed(inner[1:]), (0, tall - 0.004)], cloth, sides=int(rng.choice([8, 16])))
    )
    shape.add(rod((0, 0.1, 0), (0, tall + 0.04, 0), 0.0055, shaft))
    if rng.random() < 0.6:
        angle = np.linspace(0, np.pi, 8)
        hook = np.stack([np.zeros(8), 0.03 - np.sin(angle) * 0.03, (np.cos(angle) - 1) * 0.03], axis=1)
        path = np.concatenate([[[0, 0.19, 0], [0, 0.11, 0]], hook])
        shape.add(tube(path, 0.012, handle, sides=8))
    else:
        shape.add(
            lathe([(0, 0.0), (0.012, 0.0), (0.015, 0.02), (0.012, 0.14), (0, 0.14)], handle, sides=12).moved(y=0.02)
        )
    shape.grip("grip", (0, 0.11, 0), (0, 0, -1), UP, 0.012)
    return shape


GENERATORS = {
    "hat": hat,
    "eye glasses": eye_glasses,
    "tie": tie,
    "shoe": shoe,
    "headphones": headphones,
    "umbrella": umbrella,
}
