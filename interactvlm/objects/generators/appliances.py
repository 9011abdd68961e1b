"""Boxes with doors and buttons: microwave, oven, refrigerator, toaster, blender, sink, tv."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import Colour, any_colour, metal, paint
from interactvlm.objects.primitives import box, lathe, rod, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
WHITE, BLACK = (0.92, 0.92, 0.91), (0.07, 0.07, 0.08)


def _shell(rng: np.random.Generator) -> Colour:
    return (any_colour(WHITE, rng, 0.04), metal(rng), any_colour(BLACK, rng), paint(rng))[
        int(rng.choice(4, p=(0.4, 0.3, 0.15, 0.15)))
    ]


def _bar(shape: Shape, start: tuple[float, float, float], end: tuple[float, float, float], colour: Colour) -> None:
    """A handle bar before the front, to pull a door with."""
    shape.add(rod(start, end, 0.01, colour))
    for point in (start, end):
        shape.add(rod(point, (point[0], point[1], point[2] - 0.04), 0.007, colour))
    middle = tuple((a + b) / 2 for a, b in zip(start, end, strict=True))
    along = tuple(b - a for a, b in zip(start, end, strict=True))
    shape.grip("grip", middle, FRONT, along, 0.01)


def microwave(rng: np.random.Generator) -> Shape:
    """A microwave oven."""
    shape = Shape()
    wide, tall, deep = rng.uniform(0.44, 0.54), rng.uniform(0.26, 0.31), rng.uniform(0.32, 0.4)
    body = _shell(rng)
    shape.add(box((wide, tall, deep), body, corner=0.01, bevel=0.005))
    shape.add(box((wide * 0.66, tall * 0.78, 0.008), any_colour(BLACK, rng)).moved(-wide * 0.14, tall * 0.1, deep / 2))
    for row in range(4):
        for column in range(2):
            key = box((0.025, 0.016, 0.006), any_colour((0.6, 0.6, 0.6), rng))
            shape.add(key.moved(wide * 0.34 + 0.03 * column, tall * (0.2 + 0.15 * row), deep / 2))
    x = wide * 0.23
    _bar(shape, (x, tall * 0.25, deep / 2 + 0.035), (x, tall * 0.8, deep / 2 + 0.035), metal(rng))
    shape.anchor("push", (wide * 0.4, tall * 0.16, deep / 2), FRONT, UP, 0.05)
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * wide / 2, tall * 0.4, 0), (side, 0, 0), FRONT, deep / 2)
    shape.anchor("top", (0, tall, 0), UP, (0, 0, -1), deep / 2)
    return shape


def oven(rng: np.random.Generator) -> Shape:
    """A cooker: an oven below four plates."""
    shape = Shape()
    wide, tall, deep = rng.uniform(0.55, 0.76), rng.uniform(0.85, 0.93), rng.uniform(0.58, 0.65)
    shape.add(box((wide, tall, deep), _shell(rng), bevel=0.004))
    dark = any_colour(BLACK, rng, 0.04)
    shape.add(box((wide * 0.86, tall * 0.42, 0.012), dark).moved(0, tall * 0.2, deep / 2))
    shape.add(box((wide * 0.98, 0.008, deep * 0.95), dark).moved(y=tall - 0.001))
    for sx in (-1, 1):
        for sz in (-1, 1):
            plate = lathe([(0, 0), (0.085, 0), (0.085, 0.01), (0, 0.01)], any_colour((0.2, 0.2, 0.2), rng), sides=16)
            shape.add(plate.moved(sx * wide * 0.24, tall + 0.004, sz * deep * 0.22))
    for x in np.linspace(-0.35, 0.35, 5):
        knob = lathe([(0, 0), (0.02, 0), (0.016, 0.025), (0, 0.025)], metal(rng), sides=12)
        shape.add(knob.turned("x", 90).moved(x * wide, tall * 0.88, deep / 2))
    y = tall * 0.7
    _bar(shape, (-wide * 0.38, y, deep / 2 + 0.04), (wide * 0.38, y, deep / 2 + 0.04), metal(rng))
    shape.anchor("top", (0, tall + 0.007, deep * 0.4), UP, (0, 0, -1), wide / 2)
    shape.anchor("push", (0, tall * 0.4, deep / 2 + 0.012), FRONT, UP, wide / 2)
    return shape


def refrigerator(rng: np.random.Generator) -> Shape:
    """A refrigerator with one door above another."""
    shape = Shape()
    wide, tall, deep = rng.uniform(0.55, 0.9), rng.uniform(1.5, 1.95), rng.uniform(0.58, 0.7)
    body, split = _shell(rng), rng.uniform(0.3, 0.7) * tall
    shape.add(box((wide, tall, deep), body, bevel=0.008))
    for low, high in ((0.05, split - 0.006), (split + 0.006, tall - 0.01)):
        shape.add(box((wide - 0.01, high - low, 0.05), body, bevel=0.01).moved(0, low, deep / 2 + 0.02))
    face, x = deep / 2 + 0.045, (-1 if rng.random() < 0.5 else 1) * wide * 0.4
    low, high = (split + 0.1, split + 0.5) if split < 1.0 else (split - 0.55, split - 0.1)
    _bar(shape, (x, low, face + 0.035), (x, high, face + 0.035), metal(rng))
    shape.anchor("push", (0, (low + high) / 2, face), FRONT, UP, wide / 2)
    shape.anchor("back", (0, 1.2 if abs(1.2 - split) > 0.05 else 1.3, face), FRONT, UP, 0.4)
    return shape


def toaster(rng: np.random.Generator) -> Shape:
    """A toaster with two slots and its lever at -x."""
    shape = Shape()
    wide, tall, deep = rng.uniform(0.25, 0.31), rng.uniform(0.17, 0.21), rng.uniform(0.15, 0.19)
    shape.add(box((wide, tall, deep), _shell(rng), corner=0.03, bevel=0.02))
    for z in (-0.035, 0.035):
        shape.add(box((wide * 0.7, 0.004, 0.026), any_colour(BLACK, rng)).moved(0, tall - 0.002, z))
    shape.add(box((0.025, 0.015, 0.03), any_colour(BLACK, rng)).moved(-wide / 2 - 0.01, tall * 0.65, 0))
    shape.anchor("grip", (-wide / 2 - 0.01, tall * 0.65 + 0.015, 0), UP, (1, 0, 0), 0.012)
    shape.anchor("top", (0, tall + 0.002, 0.035), UP, (0, 0, -1), 0.1)
    return shape


def blender(rng: np.random.Generator) -> Shape:
    """A blender: a jug with a lid on a base with a knob."""
    shape = Shape()
    tall, radius = rng.uniform(0.36, 0.46), rng.uniform(0.06, 0.075)
    base = tall * 0.36
    body = _shell(rng)
    shape.add(
        lathe([(0, 0), (radius * 1.3, 0), (radius * 1.25, 0.02), (radius * 0.85, base), (0, base)], body, sides=20)
    )
    jug = [(0, base - 0.002), (radius * 0.75, base - 0.002), (radius, tall - 0.03), (0, tall - 0.03)]
    shape.add(lathe(jug, any_colour((0.75, 0.83, 0.86), rng), sides=20))
    lid = [
        (0, tall - 0.032),
        (radius * 1.04, tall - 0.032),
        (radius * 1.0, tall - 0.01),
        (0.02, tall - 0.008),
        (0.02, tall),
        (0, tall),
    ]
    shape.add(lathe(lid, any_colour(BLACK, rng), sides=20))
    path = np.array(
        [
            [-radius * 0.9, tall - 0.05, 0],
            [-radius - 0.045, tall - 0.06, 0],
            [-radius - 0.04, base + 0.06, 0],
            [-radius * 0.8, base + 0.04, 0],
        ]
    )
    shape.add(tube(path, 0.011, any_colour(BLACK, rng), sides=8))
    shape.add(
        lathe([(0, 0), (0.018, 0), (0.015, 0.02), (0, 0.02)], metal(rng), sides=12)
        .turned("x", 90)
        .moved(0, base * 0.4, radius * 1.08)
    )
    shape.grip("grip", (-radius - 0.0425, (tall + base) / 2, 0), (-1, 0, 0), UP, 0.011)
    shape.anchor("top", (0, tall, 0), UP, (0, 0, -1), radius)
    shape.anchor("push", (0, base * 0.4, radius * 1.08 + 0.02), FRONT, UP, 0.02)
    return shape


def sink(rng: np.random.Generator) -> Shape:
    """A washbasin on a pedestal or in a cabinet, with its tap at the back."""
    shape = Shape()
    wide, deep, height = rng.uniform(0.5, 0.75), rng.uniform(0.42, 0.52), rng.uniform(0.80, 0.88)
    white, steel, bowl = any_colour(WHITE, rng, 0.03), metal(rng), 0.16
    if rng.random() < 0.5:
        shape.add(lathe([(0, 0), (0.12, 0), (0.08, 0.1), (0.08, height - bowl), (0, height - bowl)], white, sides=16))
    else:
        shape.add(box((wide * 0.92, height - bowl + 0.01, deep * 0.9), paint(rng)))
    # A trough: its floor, and four walls around it.
    wall = 0.05
    shape.add(box((wide, 0.03, deep), white).moved(y=height - bowl))
    for side in (-1, 1):
        shape.add(box((wall, bowl, deep), white, bevel=0.01).moved(side * (wide - wall) / 2, height - bowl))
    shape.add(box((wide, bowl, wall), white, bevel=0.01).moved(0, height - bowl, (deep - wall) / 2))
    shape.add(box((wide, bowl, wall * 2), white, bevel=0.01).moved(0, height - bowl, -(deep - 2 * wall) / 2))
    z = -deep / 2 + wall
    path = np.array(
        [[0, height - 0.01, z], [0, height + 0.12, z], [0, height + 0.16, z + 0.05], [0, height + 0.12, z + 0.12]]
    )
    shape.add(tube(path, 0.012, steel, sides=8))
    shape.add(rod((0.05, height - 0.01, z), (0.05, height + 0.05, z), 0.012, steel))
    shape.add(rod((0.05, height + 0.05, z), (0.05, height + 0.06, z + 0.07), 0.009, steel))
    shape.anchor("grip", (0.05, height + 0.064, z + 0.035), UP, FRONT, 0.009)
    shape.anchor("top", (0, height, (deep - wall) / 2), UP, (0, 0, -1), wide / 2)
    for name, side in (("grip_left", -1), ("grip_right", 1)):  # of a person who faces it
        shape.anchor(name, (side * wide * 0.3, height, (deep - wall) / 2), UP, (0, 0, -1), wall / 2)
    return shape


def tv(rng: np.random.Generator) -> Shape:
    """A flat television on its foot."""
    shape = Shape()
    wide = rng.uniform(0.7, 1.35)
    tall, thick, foot = wide * 0.57, rng.uniform(0.03, 0.06), 0.06
    frame = any_colour(BLACK, rng, 0.04)
    shape.add(box((wide, tall, thick), frame, corner=0.01, bevel=0.004).moved(y=foot))
    shape.add(
        box((wide * 0.96, tall * 0.92, 0.002), any_colour((0.12, 0.16, 0.25), rng, 0.1)).moved(
            0, foot + tall * 0.05, thick / 2
        )
    )
    shape.add(box((0.08, foot + 0.02, 0.03), frame))
    shape.add(box((wide * 0.4, 0.012, 0.2), frame, corner=0.05))
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * wide / 2, foot + tall * 0.4, 0), (side, 0, 0), UP, thick / 2)
    shape.anchor("push", (0, foot + tall / 2, thick / 2 + 0.002), FRONT, UP, tall / 2)
    return shape


GENERATORS = {
    "microwave": microwave,
    "oven": oven,
    "refrigerator": refrigerator,
    "toaster": toaster,
    "blender": blender,
    "sink": sink,
    "tv": tv,
}
