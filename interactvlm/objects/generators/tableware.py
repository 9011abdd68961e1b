"""What one eats and drinks from and with: bottle, cup, wine glass, bowl, plate, fork, knife, spoon, vase.

Vessels stand; cutlery lies with its working end to +z. Vessels are hollow: their wall is part of the closed surface.
"""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import Colour, any_colour, metal, paint, wood
from interactvlm.objects.primitives import lathe, loft, prism, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
GLASS: tuple[Colour, ...] = ((0.55, 0.70, 0.62), (0.25, 0.42, 0.25), (0.40, 0.25, 0.12), (0.75, 0.85, 0.90))


def _glass(rng: np.random.Generator) -> Colour:
    return any_colour(GLASS[int(rng.integers(len(GLASS)))], rng)


def _hollow(outside: list[tuple[float, float]], wall: float) -> list[tuple[float, float]]:
    """The profile of a vessel with a floor: up its outside and down its inside."""
    inside = [(max(radius - wall, 1e-3), height) for radius, height in outside if height > wall]
    return [(0.0, outside[0][1]), *outside, *reversed(inside), (0.0, outside[0][1] + wall)]


def bottle(rng: np.random.Generator) -> Shape:
    """A bottle with its cap."""
    shape = Shape()
    tall, radius, neck = rng.uniform(0.19, 0.31), rng.uniform(0.031, 0.042), rng.uniform(0.012, 0.015)
    shoulder = tall * rng.uniform(0.58, 0.74)
    profile = [
        (0, 0), (radius * 0.9, 0), (radius, 0.01), (radius, shoulder), (radius * 0.8, shoulder + tall * 0.06),
        (neck, shoulder + tall * 0.14), (neck, tall - 0.02), (0, tall - 0.02),
    ]  # fmt: skip
    shape.add(lathe(profile, _glass(rng) if rng.random() < 0.6 else paint(rng), sides=18))
    shape.add(
        lathe([(0, tall - 0.024), (neck + 0.002, tall - 0.024), (neck + 0.002, tall), (0, tall)], paint(rng), sides=14)
    )
    label = [
        (0, shoulder * 0.3),
        (radius + 0.0008, shoulder * 0.3),
        (radius + 0.0008, shoulder * 0.75),
        (0, shoulder * 0.75),
    ]
    shape.add(lathe(label, paint(rng), sides=18))
    shape.grip("grip", (0, shoulder * 0.55, 0), FRONT, UP, radius)
    shape.anchor("rim", (0, tall, 0), UP, FRONT, neck)
    return shape


def cup(rng: np.random.Generator) -> Shape:
    """A mug with a handle at -x, a tumbler or a paper cup."""
    shape = Shape()
    kind = int(rng.integers(3))
    tall = (rng.uniform(0.08, 0.105), rng.uniform(0.09, 0.14), rng.uniform(0.09, 0.15))[kind]
    radius = (rng.uniform(0.038, 0.045), rng.uniform(0.032, 0.04), rng.uniform(0.036, 0.045))[kind]
    foot = radius * (0.95, 0.88, 0.72)[kind]
    colour = paint(rng) if kind != 1 else _glass(rng)
    shape.add(
        lathe(
            _hollow(
                [(foot, 0), (radius, tall * 0.6), (radius, tall)] if kind == 0 else [(foot, 0), (radius, tall)], 0.004
            ),
            colour,
            sides=20,
        )
    )
    middle = (foot + radius) / 2 if kind else radius * 0.98
    if kind == 0:
        angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
        path = np.stack(
            [-(radius - 0.003) - np.cos(angle) * 0.028, tall / 2 + np.sin(angle) * tall * 0.32, np.zeros(9)], axis=1
        )
        shape.add(tube(path, 0.0055, colour, sides=8))
    shape.grip("grip", (0, tall * 0.5, 0), FRONT, UP, middle)
    shape.anchor("rim", (0, tall, radius - 0.002), UP, FRONT, 0.004)
    return shape


def wine_glass(rng: np.random.Generator) -> Shape:
    """A glass on a stem."""
    shape = Shape()
    tall, bowl = rng.uniform(0.17, 0.24), rng.uniform(0.03, 0.043)
    stem = tall * rng.uniform(0.38, 0.5)
    profile = [
        (0, 0), (0.034, 0), (0.034, 0.003), (0.006, 0.008), (0.0045, stem * 0.9), (bowl * 0.6, stem + 0.01),
        (bowl, stem + (tall - stem) * 0.45), (bowl * 0.85, tall), (bowl * 0.85 - 0.0015, tall),
        (bowl - 0.002, stem + (tall - stem) * 0.45), (bowl * 0.55, stem + 0.014), (0, stem + 0.01),
    ]  # fmt: skip
    shape.add(lathe(profile, any_colour((0.78, 0.84, 0.88), rng), sides=20))
    shape.grip("grip", (0, stem * 0.55, 0), FRONT, UP, 0.0055)
    shape.anchor("rim", (0, tall, bowl * 0.85), UP, FRONT, 0.002)
    return shape


def bowl(rng: np.random.Generator) -> Shape:
    """A bowl."""
    shape = Shape()
    radius, tall = rng.uniform(0.065, 0.13), rng.uniform(0.05, 0.085)
    outside = [(radius * 0.45, 0), (radius * 0.75, tall * 0.25), (radius * 0.93, tall * 0.6), (radius, tall)]
    shape.add(lathe(_hollow(outside, 0.005), paint(rng), sides=24))
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * radius * 0.93, tall * 0.6, 0), (side, -0.25, 0), UP, tall / 2)
    shape.anchor("grip", (0, 0, 0), (0, -1, 0), FRONT, radius * 0.45)
    shape.anchor("rim", (0, tall, -radius + 0.0025), UP, FRONT, 0.005)
    return shape


def plate(rng: np.random.Generator) -> Shape:
    """A plate."""
    shape = Shape()
    radius, tall = rng.uniform(0.09, 0.145), rng.uniform(0.014, 0.024)
    outside = [(radius * 0.58, 0), (radius * 0.7, tall * 0.35), (radius, tall)]
    shape.add(
        lathe(
            _hollow(outside, 0.004),
            paint(rng) if rng.random() < 0.5 else any_colour((0.94, 0.93, 0.9), rng, 0.03),
            sides=28,
        )
    )
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * radius, tall, 0), (side, 0, 0), FRONT, 0.003)
    shape.anchor("top", (0, 0.004, 0), UP, FRONT, radius * 0.6)
    return shape


def _handle(shape: Shape, tall: float, colour: Colour, head: float) -> None:
    """A flat handle along z from 0 to `head` with its grip."""
    path = np.array([[0, 0.003, 0], [0, 0.003, tall * 0.08], [0, 0.004, tall * 0.4], [0, 0.004, head]])
    shape.add(tube(path, (0.008, 0.0095, 0.006, 0.0045), colour, sides=8, flat=0.32))
    shape.anchor("grip", (0, 0.0065, tall * 0.22), UP, FRONT, 0.005)


def fork(rng: np.random.Generator) -> Shape:
    """A fork."""
    shape = Shape()
    tall, colour = rng.uniform(0.17, 0.21), metal(rng)
    _handle(shape, tall, colour, tall * 0.72)
    outline = np.array([[0.004, 0], [0.012, 0.02], [0.012, 0.03], [-0.012, 0.03], [-0.012, 0.02], [-0.004, 0]])
    shape.add(prism(outline, 0.0025, colour).moved(0, 0.003, tall * 0.68))
    for x in (-0.0102, -0.0034, 0.0034, 0.0102):
        path = np.array([[x, 0.004, tall * 0.68 + 0.028], [x, 0.0025, tall * 0.9], [x, 0.006, tall]])
        shape.add(tube(path, (0.0018, 0.0016, 0.0008), colour, sides=6))
    shape.anchor("rim", (0.0034, 0.006, tall), FRONT, UP, 0.01)
    return shape


def spoon(rng: np.random.Generator) -> Shape:
    """A spoon."""
    shape = Shape()
    tall, colour = rng.uniform(0.14, 0.21), metal(rng) if rng.random() < 0.8 else wood(rng)
    wide, long = tall * 0.2, tall * 0.3
    _handle(shape, tall, colour, tall - long * 0.85)
    profile = [(0, 0), (0.5, 0.0035), (0.85, 0.006), (1, 0.009), (0.96, 0.0095), (0.5, 0.0055), (0, 0.0025)]
    head = lathe(profile, colour, sides=20)
    head.vertices[:] *= [wide / 2, 1, long / 2]
    shape.add(head.moved(0, 0, tall - long / 2))
    shape.anchor("rim", (0, 0.009, tall), FRONT, UP, 0.01)
    return shape


def knife(rng: np.random.Generator) -> Shape:
    """A knife lying on its side, the point to +z, the edge to +x."""
    shape = Shape()
    tall, steel = rng.uniform(0.2, 0.32), metal(rng)
    handle = wood(rng) if rng.random() < 0.5 else any_colour((0.1, 0.1, 0.1), rng)
    hold, wide = tall * rng.uniform(0.38, 0.45), rng.uniform(0.02, 0.04)
    path = np.array([[0, 0.009, 0], [0, 0.009, hold * 0.1], [0, 0.009, hold * 0.6], [0, 0.009, hold]])
    shape.add(tube(path, (0.011, 0.013, 0.012, 0.011), handle, sides=10, flat=0.68))
    outline = np.array(
        [
            [-0.008, hold - 0.01],
            [-0.008 + wide * 0.8, hold - 0.01],
            [-0.008 + wide, hold + 0.01],
            [-0.008 + wide * 0.9, hold + (tall - hold) * 0.6],
            [-0.004, tall],
            [-0.008, tall * 0.97],
        ]
    )
    rings = np.stack([np.stack([outline[:, 0], np.full(6, y), outline[:, 1]], axis=1) for y in (0.008, 0.0102)])
    shape.add(loft(rings, steel))
    shape.grip("grip", (0, 0.009, hold * 0.55), UP, FRONT, 0.0083)
    shape.anchor("rim", (-0.005, 0.009, tall * 0.995), FRONT, UP, 0.01)
    return shape


def vase(rng: np.random.Generator) -> Shape:
    """A vase."""
    shape = Shape()
    tall, belly = rng.uniform(0.2, 0.36), rng.uniform(0.055, 0.09)
    high, neck = rng.uniform(0.35, 0.6), rng.uniform(0.45, 0.8)
    outside = [
        (belly * 0.55, 0),
        (belly * 0.9, tall * high * 0.6),
        (belly, tall * high),
        (belly * 0.9, tall * (high + 0.12)),
        (belly * neck, tall * 0.85),
        (belly * (neck + 0.12), tall),
    ]
    shape.add(lathe(_hollow(outside, 0.006), paint(rng), sides=24))
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * belly, tall * high, 0), (side, 0, 0), UP, belly)
    shape.anchor("grip", (0, tall * high, belly), FRONT, UP, belly)
    return shape


GENERATORS = {
    "bottle": bottle,
    "cup": cup,
    "wine glass": wine_glass,
    "bowl": bowl,
    "plate": plate,
    "fork": fork,
    "spoon": spoon,
    "knife": knife,
    "vase": vase,
}
