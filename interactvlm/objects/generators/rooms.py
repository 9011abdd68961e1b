"""What stands or hangs in rooms: door, window, mirror, shelf, cabinet, wardrobe, lamp, plant, bin."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, metal, paint, wood
from interactvlm.objects.primitives import box, lathe, loft, oval, prism, rod

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
GLASS = (0.72, 0.82, 0.88)


def door(rng: np.random.Generator) -> Shape:
    """A door in its frame, ajar or shut, with handles on both sides."""
    shape = Shape()
    wide, tall = rng.uniform(0.78, 0.95), rng.uniform(1.98, 2.15)
    leaf, frame, steel = wood(rng) if rng.random() < 0.6 else paint(rng), any_colour((0.9, 0.9, 0.88), rng), metal(rng)
    for side in (-1, 1):
        shape.add(box((0.07, tall + 0.06, 0.12), frame).moved(x=side * (wide / 2 + 0.035)))
    shape.add(box((wide + 0.14, 0.07, 0.12), frame).moved(y=tall))
    shape.add(box((wide, tall, 0.04), leaf).moved(y=0.004))
    for low, high in ((0.12, 0.9), (1.1, tall - 0.14)):
        for side in (-1, 1):
            shape.add(box((wide * 0.6, high - low, 0.008), any_colour(leaf, rng, 0.04)).moved(0, low, side * 0.022))
    x = (1 if rng.random() < 0.5 else -1) * wide * 0.42
    for side in (-1, 1):
        shape.add(rod((x, 1.02, 0), (x, 1.02, side * 0.07), 0.011, steel))
        shape.add(rod((x, 1.02, side * 0.065), (x - np.sign(x) * 0.12, 1.02, side * 0.065), 0.010, steel))
    shape.grip("grip", (x - np.sign(x) * 0.06, 1.02, 0.065), FRONT, (1, 0, 0), 0.010)
    shape.anchor("push", (np.sign(x) * wide * 0.36, 1.25, 0.02), FRONT, UP, 0.1)
    shape.anchor("back", (0, 1.25, 0.026), FRONT, UP, 0.4)
    return shape


def window(rng: np.random.Generator) -> Shape:
    """A window of two wings on its sill; it stands on the floor of its own frame."""
    shape = Shape()
    wide, tall = rng.uniform(1.0, 1.6), rng.uniform(1.2, 1.7)
    frame, bar = any_colour((0.92, 0.92, 0.90), rng, 0.05) if rng.random() < 0.6 else wood(rng), 0.06
    for x in (-wide / 2, 0.0, wide / 2):
        shape.add(box((bar, tall, 0.07), frame).moved(x=x))
    for y in (0.0, tall - bar):
        shape.add(box((wide, bar, 0.068), frame).moved(y=y))
    for side in (-1, 1):
        shape.add(box((wide / 2, tall - 0.02, 0.01), any_colour(GLASS, rng)).moved(side * wide / 4, 0.01))
    shape.add(box((wide + 0.1, 0.03, 0.26), frame).moved(0, -0.03, 0.1))
    shape.add(rod((0, tall * 0.5, 0.03), (0, tall * 0.5, 0.06), 0.009, metal(rng)))
    shape.add(rod((0, tall * 0.5, 0.058), (0, tall * 0.5 - 0.11, 0.058), 0.009, metal(rng)))
    shape.grip("grip", (0, tall * 0.5 - 0.06, 0.058), FRONT, UP, 0.009)
    shape.anchor("top", (0, 0.0, 0.18), UP, (0, 0, -1), 0.1)
    shape.anchor("push", (wide / 4, tall * 0.5, 0.005), FRONT, UP, wide / 4)
    return shape


def mirror(rng: np.random.Generator) -> Shape:
    """A mirror in a frame, oval or upright, that stands or hangs."""
    shape = Shape()
    wide, tall = rng.uniform(0.4, 0.7), rng.uniform(0.7, 1.7)
    glass, frame = any_colour((0.78, 0.84, 0.88), rng), wood(rng) if rng.random() < 0.6 else metal(rng)
    if rng.random() < 0.4:
        plate = prism(oval(wide, tall, 28), 0.03, frame).turned("x", 90).moved(0, tall / 2, -0.03)
        shape.add(
            plate, prism(oval(wide * 0.9, tall * 0.93, 28), 0.006, glass).turned("x", 90).moved(0, tall / 2, -0.002)
        )
        front = 0.004
    else:
        shape.add(box((wide, tall, 0.03), frame, bevel=0.004))
        shape.add(box((wide * 0.9, tall * 0.93, 0.008), glass).moved(0, tall * 0.035, 0.013))
        front = 0.017
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * wide / 2, tall / 2, front - 0.017), (side, 0, 0), UP, 0.015)
    shape.anchor("push", (0, tall * 0.55, front), FRONT, UP, wide / 2)
    return shape


def shelf(rng: np.random.Generator) -> Shape:
    """A bookcase with books."""
    shape = Shape()
    wide, tall, deep = rng.uniform(0.6, 1.1), rng.uniform(1.0, 2.0), rng.uniform(0.25, 0.36)
    board, count = wood(rng) if rng.random() < 0.7 else paint(rng), int(rng.integers(3, 6))
    for side in (-1, 1):
        shape.add(box((0.02, tall, deep), board).moved(x=side * (wide / 2 - 0.01)))
    shape.add(box((wide - 0.03, tall, 0.008), board).moved(z=-deep / 2 + 0.004))
    levels = np.linspace(0.05, tall - 0.02, count + 1)
    for y in levels:
        shape.add(box((wide - 0.03, 0.02, deep - 0.01), board).moved(y=y))
    for y in levels[:-1]:
        x = -wide / 2 + 0.03
        while x < wide * rng.uniform(0.1, 0.4):
            thick, high = rng.uniform(0.03, 0.07), rng.uniform(0.55, 0.85) * (levels[1] - levels[0])
            shape.add(box((thick, high, deep * 0.65), paint(rng)).moved(x + thick / 2, y + 0.019, -0.03))
            x += thick + 0.004
    y = float(levels[np.abs(levels - 1.0).argmin()])
    shape.anchor("grip", (wide * 0.3, y + 0.01, deep / 2 - 0.005), FRONT, (1, 0, 0), 0.01)
    shape.anchor("push", (wide * 0.3, y + 0.01, deep / 2 - 0.005), FRONT, UP, wide / 2)
    return shape


def _doors(rng: np.random.Generator, wide: float, tall: float, deep: float, drawers: int) -> Shape:
    shape = Shape()
    board, steel = wood(rng) if rng.random() < 0.6 else paint(rng), metal(rng)
    front = any_colour(board, rng, 0.06)
    shape.add(box((wide, tall, deep), board, bevel=0.004))
    face = deep / 2 + 0.018
    if drawers:
        pitch = (tall - 0.08) / drawers
        for index in range(drawers):
            y = 0.06 + index * pitch
            shape.add(box((wide - 0.03, pitch - 0.012, 0.02), front, bevel=0.003).moved(0, y, deep / 2 + 0.008))
            shape.add(rod((-0.06, y + pitch * 0.6, face + 0.012), (0.06, y + pitch * 0.6, face + 0.012), 0.008, steel))
        y = 0.06 + (drawers - 1) * pitch + pitch * 0.6
        shape.grip("grip", (0, y, face + 0.012), FRONT, (1, 0, 0), 0.008)
    else:
        for side in (-1, 1):
            shape.add(
                box((wide / 2 - 0.012, tall - 0.08, 0.02), front, bevel=0.003).moved(
                    side * (wide / 4 - 0.001), 0.06, deep / 2 + 0.008
                )
            )
            y = min(1.0, tall * 0.55)
            shape.add(rod((side * 0.04, y - 0.08, face + 0.015), (side * 0.04, y + 0.08, face + 0.015), 0.008, steel))
        shape.grip("grip", (0.04, y, face + 0.015), FRONT, UP, 0.008)
    shape.anchor("push", (wide * 0.25, tall * (0.7 if tall < 1.4 else 0.6), face), FRONT, UP, wide / 2)
    if tall < 1.3:
        shape.anchor("top", (0, tall, deep * 0.2), UP, (0, 0, -1), deep / 2)
    return shape


def cabinet(rng: np.random.Generator) -> Shape:
    """A chest of drawers or a low cupboard."""
    return _doors(
        rng, rng.uniform(0.6, 1.2), rng.uniform(0.7, 1.15), rng.uniform(0.4, 0.55), int(rng.choice([0, 3, 4]))
    )


def wardrobe(rng: np.random.Generator) -> Shape:
    """A wardrobe with two doors."""
    return _doors(rng, rng.uniform(0.9, 1.5), rng.uniform(1.8, 2.2), rng.uniform(0.52, 0.62), 0)


def lamp(rng: np.random.Generator) -> Shape:
    """A table lamp with a shade."""
    shape = Shape()
    tall, shade = rng.uniform(0.38, 0.6), rng.uniform(0.11, 0.17)
    colour, foot = paint(rng), metal(rng) if rng.random() < 0.5 else wood(rng)
    low = tall * 0.55
    shape.add(
        lathe(
            [(0, 0), (shade * 0.7, 0), (shade * 0.6, 0.02), (0.016, 0.035), (0.012, low + 0.05), (0, low + 0.05)],
            foot,
            sides=16,
        )
    )
    shape.add(
        lathe(
            [
                (0, tall - 0.01),
                (shade * 0.6, tall - 0.01),
                (shade - 0.004, low),
                (shade, low),
                (shade * 0.64, tall),
                (0, tall),
            ],
            colour,
            sides=20,
        )
    )
    shape.grip("grip", (0, low * 0.6, 0), FRONT, UP, 0.0138)
    return shape


def potted_plant(rng: np.random.Generator) -> Shape:
    """A plant with broad leaves in a pot."""
    shape = Shape()
    pot, tall = rng.uniform(0.07, 0.16), rng.uniform(0.35, 0.95)
    rim = pot * rng.uniform(1.5, 1.9)
    shape.add(
        lathe(
            [
                (0, 0),
                (pot * 0.75, 0),
                (pot, rim),
                (pot * 1.06, rim),
                (pot * 1.06, rim * 1.1),
                (pot * 0.95, rim * 1.1),
                (pot * 0.9, rim * 0.9),
                (0, rim * 0.9),
            ],
            any_colour((0.70, 0.38, 0.25), rng) if rng.random() < 0.5 else paint(rng),
            sides=20,
        )
    )
    green = any_colour((0.20, 0.45, 0.16), rng)
    for index in range(int(rng.integers(9, 16))):
        turn, lean, reach = index * 2.39996, rng.uniform(0.25, 0.95), rng.uniform(0.7, 1.0) * (tall - rim)
        steps = np.linspace(0, 1, 6)
        out = np.sin(lean * steps) * reach * 0.75
        up = rim * 0.9 + np.cos(lean * steps * 1.2) * steps * reach
        middle = np.stack([np.cos(turn) * out, up, np.sin(turn) * out], axis=1)
        width = reach * 0.14 * np.array([0.08, 0.3, 0.8, 1.0, 0.7, 0.06])
        side = np.array([-np.sin(turn), 0, np.cos(turn)])
        ring = np.array([[1, 0], [0, 0.06], [-1, 0], [0, -0.06]])
        rings = middle[:, None] + width[:, None, None] * (ring[:, :1] * side + ring[:, 1:] * np.array([0.0, 1, 0]))
        shape.add(loft(rings, any_colour(green, rng, 0.04)))
    for name, sign in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (sign * pot * 0.9, rim * 0.6, 0), (sign, -0.1, 0), FRONT, pot)
    return shape


def trash_can(rng: np.random.Generator) -> Shape:
    """A waste bin, open above."""
    shape = Shape()
    radius, tall = rng.uniform(0.11, 0.19), rng.uniform(0.3, 0.55)
    foot = radius * rng.uniform(0.75, 0.95)
    shape.add(
        lathe(
            [(0, 0), (foot, 0), (radius, tall), (radius - 0.006, tall), (foot - 0.005, 0.01), (0, 0.01)],
            paint(rng) if rng.random() < 0.5 else metal(rng),
            sides=24,
        )
    )
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * (foot + radius) / 2, tall / 2, 0), (side, 0, 0), UP, radius)
    shape.anchor("rim", (0, tall, radius - 0.003), UP, FRONT, 0.004)
    return shape


GENERATORS = {
    "door": door,
    "window": window,
    "mirror": mirror,
    "shelf": shelf,
    "cabinet": cabinet,
    "wardrobe": wardrobe,
    "lamp": lamp,
    "potted plant": potted_plant,
    "trash can": trash_can,
}
