"""Vehicles that people touch from outside: car, bus, train, truck, boat, airplane. They drive to +z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import Colour, any_colour, metal, paint, wood
from interactvlm.objects.primitives import Part, box, ellipsoid, lathe, loft, rectangle, rod

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
GLASS, DARK = (0.18, 0.23, 0.28), (0.07, 0.07, 0.08)


def _wheels(
    shape: Shape, half: float, radius: float, wide: float, places: Sequence[float], rng: np.random.Generator
) -> None:
    rim = metal(rng)
    for z in places:
        for side in (-1, 1):
            tyre = lathe(
                [
                    (0, 0),
                    (radius * 0.9, 0),
                    (radius, 0.02 * radius / 0.3),
                    (radius, wide * 0.8),
                    (radius * 0.9, wide),
                    (0, wide),
                ],
                DARK,
                sides=18,
            )
            hub = lathe([(0, 0), (radius * 0.55, 0), (radius * 0.5, 0.01), (0, 0.02)], rim, sides=12)
            for part, x in ((tyre, half - wide), (hub, half - 0.002)):
                turned = part.turned("z", -90).moved(x, radius, z)
                shape.add(turned if side > 0 else turned.mirrored())


def _hull(stations: Sequence[tuple[float, float, float, float]], colour: Colour, corner: float = 0.1) -> Part:
    """A body along z through rounded rectangles (z, width, low, high)."""
    rings = []
    for z, wide, low, high in stations:
        outline = rectangle(wide, high - low, min(corner, (high - low) / 3, wide / 3))
        rings.append(np.stack([outline[:, 0], outline[:, 1] + (low + high) / 2, np.full(len(outline), z)], axis=1))
    return loft(np.stack(rings), colour)


def _doorside(shape: Shape, half: float, z: float, handle: float, colour: Colour) -> None:
    """A door handle at the driver's side (+x) and the flank to lean on."""
    shape.add(rod((half + 0.02, handle, z - 0.07), (half + 0.02, handle, z + 0.07), 0.012, colour))
    for end in (-0.06, 0.06):
        shape.add(rod((half - 0.03, handle, z + end), (half + 0.02, handle, z + end), 0.009, colour))
    shape.grip("grip", (half + 0.02, handle, z), (1, 0, 0), FRONT, 0.012)


def car(rng: np.random.Generator) -> Shape:
    """A car."""
    shape = Shape()
    long, wide, tall = rng.uniform(3.7, 4.8), rng.uniform(1.68, 1.85), rng.uniform(1.4, 1.65)
    body, low, belt = paint(rng), 0.2, rng.uniform(0.88, 0.98)
    h = long / 2
    rear = rng.uniform(-0.97, -0.72)
    shape.add(
        _hull(
            [
                (-h, wide * 0.9, low + 0.15, belt - 0.1),
                (-h * 0.93, wide, low, belt),
                (h * 0.35, wide, low, belt),
                (h * 0.9, wide * 0.97, low, belt - 0.22),
                (h, wide * 0.85, low + 0.12, belt - 0.35),
            ],
            body,
        )
    )
    cabin = [
        (h * rear, wide * 0.8, belt - 0.08, belt),
        (h * (rear + 0.22), wide * 0.8, belt - 0.08, tall - 0.03),
        (-h * 0.2, wide * 0.82, belt - 0.08, tall - 0.01),
        (h * 0.05, wide * 0.82, belt - 0.08, tall - 0.03),
        (h * 0.36, wide * 0.84, belt - 0.08, belt),
    ]
    shape.add(_hull(cabin, any_colour(GLASS, rng), 0.12))
    shape.add(box((wide * 0.74, 0.03, h * 0.75), body, corner=0.15, bevel=0.01).moved(0, tall - 0.03, -h * 0.24))
    _wheels(shape, wide / 2 + 0.01, rng.uniform(0.29, 0.33), 0.2, (-h * 0.62, h * 0.6), rng)
    for side in (-1, 1):
        shape.add(ellipsoid((0.13, 0.07, 0.05), (0.95, 0.93, 0.8), sides=12).moved(side * wide * 0.32, 0.62, h * 0.955))
        shape.add(box((0.2, 0.1, 0.04), (0.7, 0.06, 0.06)).moved(side * wide * 0.36, belt - 0.26, -h * 0.985))
        shape.add(ellipsoid((0.1, 0.06, 0.04), body, sides=10).moved(side * (wide / 2 + 0.06), belt + 0.03, h * 0.22))
    _doorside(shape, wide / 2, -h * 0.1, belt - 0.14, metal(rng))
    shape.anchor("push", (0, belt - 0.3, -h), (0, 0, -1), UP, wide / 2)
    shape.anchor("back", (wide / 2, (low + belt) / 2 + 0.1, -h * 0.25), (1, 0, 0), UP, 0.3)
    shape.anchor("top", (0, tall, -h * 0.24), UP, FRONT, wide * 0.3)
    return shape


def _carriage(
    rng: np.random.Generator, long: float, wide: float, tall: float, low: float, wheels: Sequence[float], radius: float
) -> Shape:
    """A box with windows along its sides: bus, train."""
    shape = Shape()
    body, h = paint(rng), long / 2
    nose = rng.uniform(0.05, 0.35)
    shape.add(
        _hull(
            [
                (-h, wide * 0.97, low, tall - 0.05),
                (-h * 0.98, wide, low, tall),
                (h - nose, wide, low, tall),
                (h, wide * 0.95, low, tall * 0.93),
            ],
            body,
            0.2,
        )
    )
    count = max(int(long / 1.6), 3)
    glass = any_colour(GLASS, rng)
    for index in range(count):
        z = -h + (index + 0.5) * (long - 0.8) / count + 0.2
        shape.add(
            box((wide + 0.03, tall * 0.26, (long - 0.8) / count * 0.84), glass, bevel=0.005).moved(0, tall * 0.56, z)
        )
    shape.add(box((wide * 0.84, tall * 0.3, 0.06), glass).moved(0, tall * 0.52, h - nose * 0.35))
    _wheels(shape, wide / 2 - 0.03, radius, 0.25, wheels, rng)
    door = h * 0.72
    shape.add(box((0.05, tall * 0.68, 0.9), any_colour(body, rng, 0.1)).moved(wide / 2 - 0.005, low + 0.08, door))
    steel = metal(rng)
    rail = wide / 2 + 0.07
    shape.add(rod((rail, 1.0, door - 0.6), (rail, 1.7, door - 0.6), 0.018, steel))
    for y in (1.02, 1.68):
        shape.add(rod((rail, y, door - 0.6), (wide / 2 - 0.03, y, door - 0.6), 0.012, steel))
    shape.grip("grip", (rail, 1.3, door - 0.6), (1, 0, 0), UP, 0.018)
    shape.anchor("back", (wide / 2, low + 0.6, -h * 0.1), (1, 0, 0), UP, 0.4)
    return shape


def bus(rng: np.random.Generator) -> Shape:
    """A bus."""
    long = rng.uniform(8.0, 12.0)
    return _carriage(rng, long, 2.5, rng.uniform(2.9, 3.2), 0.35, (-long * 0.25, long * 0.3), 0.48)


def train(rng: np.random.Generator) -> Shape:
    """A railway carriage with its driver's cab to +z."""
    long = rng.uniform(11.0, 19.0)
    return _carriage(
        rng, long, 2.85, rng.uniform(3.4, 3.9), 0.55, (-long * 0.38, -long * 0.28, long * 0.28, long * 0.38), 0.45
    )


def truck(rng: np.random.Generator) -> Shape:
    """A lorry with a cab and a box."""
    shape = Shape()
    long, wide, tall = rng.uniform(5.5, 8.5), rng.uniform(2.1, 2.45), rng.uniform(2.7, 3.4)
    h, body, cab = long / 2, paint(rng), 1.7
    load = h - cab - 0.15
    shape.add(
        box(
            (wide, tall - 0.9, load + h),
            any_colour((0.88, 0.88, 0.86), rng, 0.1) if rng.random() < 0.5 else paint(rng),
            bevel=0.02,
        ).moved(0, 0.9, (load - h) / 2)
    )
    shape.add(
        _hull(
            [
                (h - cab, wide * 0.94, 0.5, 2.35),
                (h - 0.7, wide * 0.94, 0.5, 2.35),
                (h - 0.25, wide * 0.92, 0.5, 1.5),
                (h, wide * 0.9, 0.5, 1.35),
            ],
            body,
        )
    )
    shape.add(box((0.9, 0.22, long - 0.5), DARK).moved(0, 0.6, 0))
    glass = any_colour(GLASS, rng)
    shape.add(box((wide * 0.94 + 0.02, 0.6, 0.75), glass).moved(0, 1.55, h - cab + 0.55))
    shape.add(box((wide * 0.82, 0.6, 0.04), glass).turned("x", -28).moved(0, 1.58, h - 0.4))
    _wheels(shape, wide / 2 - 0.02, 0.45, 0.28, (-h * 0.62, h - 0.85), rng)
    _doorside(shape, wide * 0.47, h - cab + 0.3, 1.38, metal(rng))
    shape.anchor("push", (0, 1.2, -h), (0, 0, -1), UP, wide / 2)
    shape.anchor("back", (wide / 2, 1.35, -h * 0.3), (1, 0, 0), UP, 0.4)
    return shape


def boat(rng: np.random.Generator) -> Shape:
    """A rowing boat with two thwarts and oars; the bow to +z, the rower looks to -z."""
    shape = Shape()
    long, wide, deep = rng.uniform(2.7, 4.4), rng.uniform(1.1, 1.5), rng.uniform(0.42, 0.55)
    shares = np.linspace(0, 1, 13)
    half = wide / 2 * np.sqrt(np.clip(1 - np.clip((shares - 0.45) / 0.55, -0.75, 1) ** 2, 0.002, 1))
    keel = 0.12 * np.clip((shares - 0.6) / 0.4, 0, 1) ** 2
    sheer = deep + 0.12 * np.abs(shares - 0.4) ** 2 * 2
    across = np.array([1, 0.8, 0.45, 0, -0.45, -0.8, -1])
    drop = np.array([1, 0.45, 0.08, 0, 0.08, 0.45, 1])
    outer = np.stack(
        [
            half[:, None] * across,
            keel[:, None] + (sheer - keel)[:, None] * drop,
            np.repeat((shares[:, None] - 0.5) * long, 7, axis=1),
        ],
        axis=2,
    )
    inner = outer[:, ::-1] * [0.93, 1, 0.97] + [0, 0.04, 0]
    inner[:, [0, 6], 1] -= 0.04
    shape.add(loft(np.concatenate([outer, inner], axis=1), paint(rng) if rng.random() < 0.6 else wood(rng)))
    plank, seat = wood(rng), deep * 0.68
    for z in (-long * 0.2, long * 0.1):
        shape.add(box((wide * 0.88, 0.035, 0.24), plank).moved(0, seat - 0.035, z))
    for name, side in (("grip_left", -1), ("grip_right", 1)):
        hand, blade = (
            (side * 0.16, deep + 0.22, -long * 0.24 - 0.12),
            (side * (wide / 2 + 0.85), deep - 0.12, -long * 0.08),
        )
        shape.add(rod(hand, blade, 0.021, plank))
        shape.add(
            box((0.4, 0.02, 0.14), plank, corner=0.04)
            .turned("z", -side * 18)
            .moved(blade[0] + side * 0.17, blade[1] - 0.06, blade[2])
        )
        along = np.array(blade) - np.array(hand)
        shape.grip(name, np.array(hand) + 0.06 * along, (0, 1, -0.5), along, 0.021)
    shape.anchor("seat", (0, seat, long * 0.1), UP, (0, 0, -1), 0.12)
    return shape


def airplane(rng: np.random.Generator) -> Shape:
    """A small propeller plane."""
    shape = Shape()
    long = rng.uniform(5.2, 7.2)
    h, body, trim = (
        long / 2,
        any_colour((0.92, 0.92, 0.92), rng, 0.05) if rng.random() < 0.6 else paint(rng),
        paint(rng),
    )
    floor = 0.75
    shape.add(
        _hull(
            [
                (-h, 0.18, floor + 0.45, floor + 0.7),
                (-h * 0.3, 0.9, floor + 0.1, floor + 1.05),
                (h * 0.1, 1.1, floor, floor + 1.25),
                (h * 0.45, 1.05, floor, floor + 1.15),
                (h * 0.6, 0.95, floor + 0.05, floor + 0.75),
                (h * 0.93, 0.6, floor + 0.15, floor + 0.65),
            ],
            body,
            0.25,
        )
    )
    shape.add(
        _hull(
            [
                (-h * 0.15, 0.95, floor + 0.8, floor + 1.12),
                (h * 0.1, 1.12, floor + 0.75, floor + 1.22),
                (h * 0.5, 1.02, floor + 0.75, floor + 1.0),
            ],
            any_colour(GLASS, rng),
            0.15,
        )
    )
    span = long * 1.15
    shape.add(box((span, 0.14, 1.1), trim, bevel=0.06).moved(0, floor + 0.02, h * 0.2))
    shape.add(box((span * 0.32, 0.06, 0.6), trim, bevel=0.02).moved(0, floor + 0.55, -h * 0.88))
    fin = loft(
        np.array(
            [
                [
                    [x, floor + 0.6, -h * 0.98],
                    [x, floor + 1.6, -h * 1.0],
                    [x, floor + 1.6, -h * 0.85],
                    [x, floor + 0.6, -h * 0.65],
                ]
                for x in (-0.04, 0.04)
            ]
        ),
        trim,
    )
    shape.add(fin)
    shape.add(ellipsoid((0.14, 0.14, 0.22), trim, sides=12).moved(0, floor + 0.4, h * 0.95))
    shape.add(box((1.7, 0.12, 0.03), DARK).turned("z", rng.uniform(0, 180)).moved(0, floor + 0.4, h * 1.0))
    for x, z in ((-0.9, h * 0.05), (0.9, h * 0.05), (0.0, h * 0.7)):
        shape.add(
            lathe([(0, -0.06), (0.16, -0.06), (0.19, 0), (0.16, 0.06), (0, 0.06)], DARK, sides=14)
            .turned("z", 90)
            .moved(x, 0.19, z)
        )
        shape.add(rod((x, 0.19, z), (x * 0.8, floor + 0.12, z), 0.03, metal(rng)))
    shape.anchor("push", (span * 0.3, floor + 0.09, h * 0.2 - 0.55), (0, 0, -1), UP, 0.5)
    shape.anchor("top", (span * 0.25, floor + 0.16, h * 0.2), UP, FRONT, 0.4)
    shape.anchor("back", (span * 0.3, floor + 0.09, h * 0.2 + 0.55), FRONT, UP, 0.1)
    return shape


GENERATORS = {
    "airplane": airplane,
    "boat": boat,
    "bus": bus,
    "car": car,
    "train": train,
    "truck": truck,
}
