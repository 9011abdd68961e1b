"""Things for one or two hands: phone, laptop, book, remote, keyboard, mouse, scissors, toothbrush, hair drier ...

They lie as they would on a table; what faces the user's eyes faces up, the user is at -z.
"""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, metal, paint
from interactvlm.objects.primitives import box, ellipsoid, lathe, oval, prism, rod, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
BLACK = (0.06, 0.06, 0.07)


def cell_phone(rng: np.random.Generator) -> Shape:
    """A phone, screen up, its top to +z."""
    shape = Shape()
    tall, wide, thick = rng.uniform(0.135, 0.162), rng.uniform(0.066, 0.077), rng.uniform(0.0075, 0.0095)
    shape.add(box((wide, thick, tall), paint(rng), corner=0.009, bevel=0.0015))
    shape.add(
        box((wide - 0.006, 0.001, tall - 0.008), any_colour(BLACK, rng, 0.03), corner=0.006).moved(y=thick - 0.0004)
    )
    shape.add(
        box((0.02, 0.0015, 0.02), any_colour(BLACK, rng, 0.03), corner=0.004).moved(-wide * 0.28, -0.0012, tall * 0.4)
    )
    top = thick + 0.0006
    shape.anchor("grip", (0, 0, -tall * 0.08), (0, -1, 0), FRONT, wide / 2)
    shape.anchor("grip_left", (wide / 2, thick / 2, -tall * 0.15), (1, 0, 0), FRONT, thick / 2)
    shape.anchor("grip_right", (-wide / 2, thick / 2, -tall * 0.15), (-1, 0, 0), FRONT, thick / 2)
    shape.anchor("ear", (0, top, tall * 0.38), UP, FRONT, wide / 2)
    shape.anchor("top", (0, top, -tall * 0.1), UP, FRONT, wide / 2)
    return shape


def laptop(rng: np.random.Generator) -> Shape:
    """An open laptop, the screen at its far side."""
    shape = Shape()
    wide, deep, thick = rng.uniform(0.31, 0.38), rng.uniform(0.21, 0.26), rng.uniform(0.014, 0.02)
    shell = metal(rng) if rng.random() < 0.6 else any_colour(BLACK, rng)
    open_by = rng.uniform(95, 120)
    shape.add(box((wide, thick, deep), shell, corner=0.01, bevel=0.002))
    shape.add(
        box((wide * 0.86, 0.002, deep * 0.42), any_colour(BLACK, rng), corner=0.004).moved(
            y=thick - 0.001, z=deep * 0.16
        )
    )
    shape.add(
        box((wide * 0.32, 0.001, deep * 0.28), any_colour(shell, rng, 0.1)).moved(y=thick - 0.0005, z=-deep * 0.28)
    )
    lid = box((wide, 0.008, deep), shell, corner=0.01, bevel=0.002).moved(z=-deep / 2)
    screen = box((wide * 0.93, 0.002, deep * 0.88), any_colour((0.2, 0.3, 0.45), rng, 0.15)).moved(
        y=-0.0015, z=-deep / 2
    )
    for part in (lid, screen):
        # The lid lies shut upside down over the keys; opening turns it about the hinge.
        shape.add(part.turned("x", open_by).turned("y", 0).moved(0, thick, deep / 2 - 0.003))
    shape.anchor("top", (0, thick + 0.001, deep * 0.16), UP, FRONT, wide / 2)
    shape.anchor("grip_left", (wide / 2, thick / 2, -deep * 0.1), (1, 0, 0), FRONT, thick / 2)
    shape.anchor("grip_right", (-wide / 2, thick / 2, -deep * 0.1), (-1, 0, 0), FRONT, thick / 2)
    shape.anchor("grip", (0, 0, 0), (0, -1, 0), FRONT, deep / 2)
    return shape


def book(rng: np.random.Generator) -> Shape:
    """A book, shut or open, to be read from -z."""
    shape = Shape()
    tall, wide, thick = rng.uniform(0.18, 0.29), rng.uniform(0.12, 0.21), rng.uniform(0.012, 0.04)
    cover, paper = paint(rng), any_colour((0.93, 0.90, 0.82), rng, 0.03)
    if rng.random() < 0.5:
        for y in (0.0, thick - 0.003):
            shape.add(box((wide, 0.003, tall), cover).moved(y=y))
        shape.add(box((0.003, thick, tall), cover).moved(x=-wide / 2 + 0.0015))
        shape.add(box((wide - 0.006, thick - 0.004, tall - 0.008), paper).moved(y=0.002))
        shape.anchor("grip", (0, 0, -tall * 0.2), (0, -1, 0), FRONT, wide / 2)
        sides, y = wide / 2, thick / 2
        shape.anchor("top", (0, thick, 0), UP, FRONT, wide / 2)
    else:
        for side in (-1, 1):
            for block, colour, low, high in (
                (wide, cover, 0.0, 0.004),
                (wide - 0.006, paper, 0.003, thick / 2 + 0.004),
            ):
                page = box((block, high - low, tall - (0.008 if colour is paper else 0)), colour).moved(block / 2, low)
                shape.add((page if side > 0 else page.mirrored()).turned("z", side * 8))
        lift = np.radians(8)
        sides, y = wide * np.cos(lift), wide * np.sin(lift) + 0.002
        shape.anchor("grip", (0.0, 0, -tall * 0.2), (0, -1, 0), FRONT, wide / 2)
        up = thick / 2 + 0.004
        shape.anchor(
            "top",
            (wide * 0.5 * np.cos(lift) - up * np.sin(lift), wide * 0.5 * np.sin(lift) + up * np.cos(lift), 0),
            (-np.sin(lift), np.cos(lift), 0),
            FRONT,
            wide / 2,
        )
    shape.anchor("grip_left", (sides, y, -tall * 0.15), (1, 0, 0), FRONT, thick / 2)
    shape.anchor("grip_right", (-sides, y, -tall * 0.15), (-1, 0, 0), FRONT, thick / 2)
    return shape


def remote(rng: np.random.Generator) -> Shape:
    """A remote control, buttons up, pointing to +z."""
    shape = Shape()
    tall, wide, thick = rng.uniform(0.14, 0.21), rng.uniform(0.038, 0.052), rng.uniform(0.014, 0.022)
    body = any_colour(BLACK, rng, 0.08) if rng.random() < 0.6 else paint(rng)
    shape.add(box((wide, thick, tall), body, corner=wide * 0.3, bevel=thick * 0.25))
    for row in np.linspace(-0.25, 0.35, 5):
        for x in (-0.25, 0, 0.25):
            button = box((wide * 0.16, 0.003, wide * 0.13), paint(rng) if rng.random() < 0.2 else (0.6, 0.6, 0.62))
            shape.add(button.moved(x * wide, thick - 0.001, row * tall))
    shape.anchor("grip", (0, 0, -tall * 0.1), (0, -1, 0), FRONT, wide / 2)
    shape.anchor("top", (wide * 0.12, thick, -tall * 0.1), UP, FRONT, wide / 2)
    return shape


def keyboard(rng: np.random.Generator) -> Shape:
    """A keyboard, the near side at -z."""
    shape = Shape()
    wide, deep, thick = rng.uniform(0.36, 0.46), rng.uniform(0.12, 0.16), rng.uniform(0.014, 0.022)
    body, key = any_colour(BLACK, rng, 0.05), any_colour(BLACK, rng, 0.1)
    if rng.random() < 0.4:
        body, key = any_colour((0.85, 0.85, 0.83), rng), any_colour((0.95, 0.95, 0.95), rng, 0.03)
    shape.add(box((wide, thick, deep), body, corner=0.01, bevel=0.003))
    pitch = deep * 0.86 / 5
    for row in range(5):
        z = (row - 2) * pitch
        for left, right in ((-0.46, -0.16), (-0.14, 0.2), (0.23, 0.46)):
            shape.add(
                box(((right - left) * wide, 0.007, pitch * 0.8), key, bevel=0.002).moved(
                    (left + right) / 2 * wide, thick - 0.001, z
                )
            )
    shape.anchor("top", (0.03 * wide, thick + 0.006, 0), UP, FRONT, wide / 2)
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * wide / 2, thick / 2, 0), (side, 0, 0), FRONT, thick / 2)
    return shape


def mouse(rng: np.random.Generator) -> Shape:
    """A computer mouse, its buttons to +z."""
    shape = Shape()
    tall, wide, high = rng.uniform(0.095, 0.125), rng.uniform(0.055, 0.068), rng.uniform(0.03, 0.04)
    body = ellipsoid((wide / 2, high, tall / 2), paint(rng), sides=20)
    flat = body.vertices.copy()
    flat[:, 1] = np.maximum(flat[:, 1], -0.002)
    shape.add(type(body)(flat, body.faces, body.colour))
    wheel = lathe([(0, -0.004), (0.011, -0.004), (0.011, 0.004), (0, 0.004)], (0.1, 0.1, 0.1), sides=12)
    shape.add(wheel.turned("z", 90).moved(0, high * 0.8, tall * 0.28))
    shape.anchor("grip", (0, high, 0), UP, FRONT, wide / 2)
    return shape


def scissors(rng: np.random.Generator) -> Shape:
    """Scissors lying flat, half open, the points to +z."""
    shape = Shape()
    tall, ring = rng.uniform(0.15, 0.22), rng.uniform(0.020, 0.026)
    blade, handle, spread = metal(rng), paint(rng), rng.uniform(5, 14)
    outline = np.array(
        [
            [-0.004, 0],
            [0.007, 0],
            [0.006, tall * 0.3],
            [0.0005, tall * 0.55],
            [-0.0005, tall * 0.55],
            [-0.005, tall * 0.3],
        ]
    )
    for side in (-1, 1):
        leaf = prism(outline, 0.002, blade).moved(y=0.003 + 0.001 * side)
        loop = oval(ring * 1.5, ring * 2, 16)
        hoop = tube(
            np.stack([loop[:, 0] - ring * 0.8, np.full(16, 0.004), loop[:, 1] - tall * 0.33], axis=1),
            0.004,
            handle,
            sides=6,
            closed=True,
        )
        arm = rod((0, 0.004, 0.01), (-ring * 0.4, 0.004, -tall * 0.33 + ring * 0.9), 0.0045, handle)
        for part in (leaf, hoop, arm):
            shape.add((part if side > 0 else part.mirrored()).turned("y", side * spread))
    angle = np.radians(spread)
    x, z = -ring * 0.8 - ring * 0.75, -tall * 0.33
    place = (x * np.cos(angle) + z * np.sin(angle), 0.004, -x * np.sin(angle) + z * np.cos(angle))
    shape.anchor("grip", (place[0] - 0.0035, place[1], place[2]), (-1, 0, 0), FRONT, 0.004)
    return shape


def toothbrush(rng: np.random.Generator) -> Shape:
    """A toothbrush lying with its bristles up, the head to +z."""
    shape = Shape()
    tall, colour = rng.uniform(0.165, 0.20), paint(rng)
    path = np.array(
        [[0, 0.006, 0], [0, 0.007, tall * 0.3], [0, 0.006, tall * 0.55], [0, 0.006, tall * 0.72], [0, 0.006, tall]]
    )
    shape.add(tube(path, (0.005, 0.0065, 0.006, 0.003, 0.005), colour, sides=10))
    shape.add(box((0.009, 0.013, 0.026), (0.93, 0.95, 0.97), corner=0.003).moved(0, 0.007, tall - 0.016))
    shape.grip("grip", (0, 0.007, tall * 0.28), (0, -1, 0), FRONT, 0.0065)
    shape.anchor("rim", (0, 0.02, tall - 0.016), UP, FRONT, 0.01)
    return shape


def hair_drier(rng: np.random.Generator) -> Shape:
    """A hair drier standing on its handle, blowing to +z."""
    shape = Shape()
    tall, deep = rng.uniform(0.12, 0.15), rng.uniform(0.17, 0.22)
    colour, dark = paint(rng), any_colour(BLACK, rng)
    barrel = [
        (0, 0),
        (0.036, 0.005),
        (0.042, 0.03),
        (0.04, deep * 0.5),
        (0.028, deep * 0.8),
        (0.026, deep),
        (0.02, deep),
        (0.02, deep - 0.01),
        (0, deep - 0.01),
    ]
    shape.add(lathe(barrel, colour, sides=18).turned("x", 90).moved(0, tall + 0.035, -deep * 0.35))
    shape.add(
        tube(
            np.array([[0, 0, -0.01], [0, tall * 0.6, 0], [0, tall + 0.02, 0.0]]), (0.015, 0.018, 0.02), colour, sides=12
        )
    )
    shape.add(
        tube(
            np.array([[0, 0.004, -0.01], [0, -0.02, -0.02], [0, -0.035, -0.06], [0.02, -0.04, -0.12]]),
            0.004,
            dark,
            sides=6,
        )
    )
    shape.add(box((0.01, 0.03, 0.008), dark).moved(0, tall * 0.5, 0.014))
    shape.grip("grip", (0, tall * 0.6, 0), (0, 0, -1), UP, 0.018)
    return shape


def clock(rng: np.random.Generator) -> Shape:
    """A round wall or table clock, its face to +z."""
    shape = Shape()
    radius, deep = rng.uniform(0.08, 0.18), rng.uniform(0.03, 0.05)
    face = lathe(
        [(0, 0), (radius, 0), (radius, deep), (radius * 0.9, deep), (radius * 0.9, deep - 0.01), (0, deep - 0.01)],
        paint(rng),
        sides=28,
    )
    shape.add(face.turned("x", 90))
    dial = (
        lathe([(0, 0), (radius * 0.88, 0), (radius * 0.88, 0.002), (0, 0.002)], (0.95, 0.95, 0.92), sides=24)
        .turned("x", 90)
        .moved(z=deep - 0.0105)
    )
    shape.add(dial)
    for angle, reach in ((rng.uniform(0, 360), 0.5), (rng.uniform(0, 360), 0.75)):
        shape.add(box((0.006, radius * reach, 0.003), BLACK).turned("z", angle).moved(z=deep - 0.008))
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * radius, 0, deep / 2), (side, 0, 0), UP, deep / 2)
    return shape


GENERATORS = {
    "cell phone": cell_phone,
    "laptop": laptop,
    "book": book,
    "remote": remote,
    "keyboard": keyboard,
    "mouse": mouse,
    "scissors": scissors,
    "toothbrush": toothbrush,
    "hair drier": hair_drier,
    "clock": clock,
}
