"""What stands in streets and gardens: hydrant, meter, sign, light, railing, stairs, ladder, swing, lounger."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, metal, paint, wood
from interactvlm.objects.primitives import box, lathe, prism, rod

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
RED, DARK = (0.75, 0.10, 0.08), (0.12, 0.12, 0.13)


def fire_hydrant(rng: np.random.Generator) -> Shape:
    """A fire hydrant with two hose outlets."""
    shape = Shape()
    tall, radius = rng.uniform(0.66, 0.84), rng.uniform(0.1, 0.125)
    body = any_colour((RED, (0.85, 0.70, 0.12), (0.15, 0.30, 0.60))[int(rng.integers(3))], rng)
    cap, steel = any_colour(body, rng, 0.1), metal(rng)
    dome = tall * 0.82
    profile = [(0, 0), (radius * 1.5, 0), (radius * 1.5, 0.04), (radius, 0.05), (radius, dome * 0.86)]
    profile += [
        (radius * 1.25, dome * 0.88),
        (radius * 1.25, dome * 0.94),
        (radius, dome * 0.96),
        (radius * 0.85, dome),
    ]
    profile += [(radius * 0.4, tall * 0.93), (0.03, tall * 0.95), (0.03, tall), (0, tall)]
    shape.add(lathe(profile, body, sides=20))
    nozzle = lathe(
        [
            (0, 0),
            (0.045, 0),
            (0.045, radius + 0.04),
            (0.055, radius + 0.045),
            (0.055, radius + 0.075),
            (0, radius + 0.08),
        ],
        cap,
        sides=12,
    )
    for side in (-90, 90):
        shape.add(nozzle.turned("z", side).moved(y=dome * 0.62))
    front = lathe(
        [(0, 0), (0.06, 0), (0.06, radius + 0.04), (0.07, radius + 0.045), (0.07, radius + 0.08), (0, radius + 0.08)],
        steel,
        sides=14,
    )
    shape.add(front.turned("x", 90).moved(y=dome * 0.55))
    shape.anchor("seat", (0, tall, 0), UP, FRONT, 0.03)
    shape.anchor("top", (0, tall, 0), UP, FRONT, 0.03)
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * (radius + 0.08), dome * 0.62, 0), (side, 0, 0), UP, 0.05)
    return shape


def parking_meter(rng: np.random.Generator) -> Shape:
    """A parking meter on its post."""
    shape = Shape()
    tall, grey = rng.uniform(1.2, 1.5), metal(rng)
    shape.add(rod((0, 0, 0), (0, tall - 0.2, 0), 0.03, grey))
    shape.add(box((0.15, 0.2, 0.11), any_colour(DARK, rng), corner=0.03, bevel=0.01).moved(y=tall - 0.28))
    dome = lathe([(0, -0.055), (0.075, -0.055), (0.075, 0.055), (0, 0.055)], any_colour(DARK, rng), sides=20)
    shape.add(dome.turned("x", 90).moved(y=tall - 0.08))
    shape.add(box((0.08, 0.05, 0.008), (0.75, 0.82, 0.8)).moved(0, tall - 0.09, 0.053))
    shape.add(
        lathe([(0, 0), (0.02, 0), (0.016, 0.02), (0, 0.02)], grey, sides=12)
        .turned("x", 90)
        .moved(0, tall - 0.18, 0.054)
    )
    shape.anchor("push", (0, tall - 0.18, 0.074), FRONT, UP, 0.02)
    shape.grip("grip", (0, tall - 0.45, 0), FRONT, UP, 0.03)
    return shape


def stop_sign(rng: np.random.Generator) -> Shape:
    """A stop sign on its post."""
    shape = Shape()
    tall, half = rng.uniform(2.0, 2.6), rng.uniform(0.3, 0.38)
    shape.add(rod((0, 0, 0), (0, tall - 0.02, 0), 0.03, metal(rng)))
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False) + np.pi / 8
    plate = np.stack([np.cos(angle), np.sin(angle)], axis=1) * half
    for size, colour, z in ((1.0, (0.92, 0.92, 0.92), 0.03), (0.94, any_colour(RED, rng, 0.03), 0.033)):
        shape.add(prism(plate * size, 0.006, colour).turned("x", 90).moved(0, tall - half, z))
    shape.add(box((half * 1.2, half * 0.4, 0.003), (0.93, 0.93, 0.93)).moved(0, tall - half * 1.2, 0.0385))
    shape.grip("grip", (0, 1.15, 0), FRONT, UP, 0.03)
    shape.anchor("back", (0, 1.3, 0.03), FRONT, UP, 0.03)
    return shape


def traffic_light(rng: np.random.Generator) -> Shape:
    """A traffic light on its post."""
    shape = Shape()
    tall = rng.uniform(2.3, 3.2)
    shape.add(rod((0, 0, 0), (0, tall - 0.4, 0), 0.05, any_colour(DARK, rng)))
    shape.add(
        box(
            (0.28, 0.85, 0.2), any_colour((DARK, (0.8, 0.65, 0.1))[int(rng.integers(2))], rng), corner=0.03, bevel=0.02
        ).moved(0, tall - 0.85, 0.1)
    )
    for y, colour in ((-0.18, RED), (-0.43, (0.92, 0.65, 0.1)), (-0.68, (0.1, 0.6, 0.25))):
        shape.add(
            lathe([(0, 0), (0.1, 0), (0.09, 0.012), (0, 0.02)], colour, sides=18)
            .turned("x", 90)
            .moved(0, tall + y, 0.198)
        )
    shape.add(box((0.1, 0.15, 0.07), (0.85, 0.65, 0.1), corner=0.01).moved(0, 0.98, 0.06))
    shape.anchor("push", (0, 1.05, 0.095), FRONT, UP, 0.04)
    shape.grip("grip", (0, 1.35, 0), FRONT, UP, 0.05)
    shape.anchor("back", (0, 1.35, 0.05), FRONT, UP, 0.05)
    return shape


def railing(rng: np.random.Generator) -> Shape:
    """A railing with a hand rail on posts."""
    shape = Shape()
    wide, tall, steel = rng.uniform(1.6, 2.2), rng.uniform(0.92, 1.1), metal(rng) if rng.random() < 0.7 else wood(rng)
    shape.add(rod((-wide / 2, tall - 0.025, 0), (wide / 2, tall - 0.025, 0), 0.025, steel))
    shape.add(rod((-wide / 2, 0.12, 0), (wide / 2, 0.12, 0), 0.015, steel))
    for x in (-wide / 2 + 0.02, wide / 2 - 0.02):
        shape.add(rod((x, 0, 0), (x, tall - 0.02, 0), 0.022, steel))
    for x in np.linspace(-wide / 2, wide / 2, int(rng.integers(9, 15)))[1:-1]:
        shape.add(rod((x, 0.12, 0), (x, tall - 0.03, 0), 0.008, steel))
    for name, x in (("grip", 0.0), ("grip_left", -0.28), ("grip_right", 0.28)):  # of a person who faces its front
        shape.grip(name, (x, tall - 0.025, 0), UP, (1, 0, 0), 0.025)
    shape.anchor("top", (0, tall, 0), UP, (0, 0, -1), 0.025)
    shape.anchor("back", (0.0, tall - 0.025, 0.025), FRONT, UP, 0.025)
    return shape


def stairs(rng: np.random.Generator) -> Shape:
    """A straight flight that rises towards -z."""
    shape = Shape()
    wide, rise, run = rng.uniform(0.85, 1.2), rng.uniform(0.165, 0.19), rng.uniform(0.26, 0.30)
    count, colour = int(rng.integers(6, 10)), wood(rng) if rng.random() < 0.6 else metal(rng)
    for index in range(count):
        shape.add(box((wide, (index + 1) * rise, run * 1.01), any_colour(colour, rng, 0.02)).moved(z=-index * run))
    for step, name in ((0, "stand"), (2, "seat")):
        shape.anchor(name, (0, (step + 1) * rise, -step * run), UP, FRONT if name == "seat" else (0, 0, -1), run / 2)
    x = wide / 2 - 0.04
    shape.add(rod((x, 0.9 + rise, 0), (x, 0.9 + rise * count, -(count - 1) * run), 0.022, metal(rng)))
    for step in (0, count // 2, count - 1):
        shape.add(
            rod(
                (x, (step + 1) * rise - 0.01, -step * run), (x, 0.9 + rise * (step + 1), -step * run), 0.014, metal(rng)
            )
        )
    shape.grip("grip", (x, 0.9 + rise * 1.5, -0.5 * run), UP, (0, rise, -run), 0.022)
    return shape


def ladder(rng: np.random.Generator) -> Shape:
    """A step ladder, to be climbed from +z."""
    shape = Shape()
    tall, wide, colour = rng.uniform(1.6, 2.3), rng.uniform(0.4, 0.5), metal(rng) if rng.random() < 0.6 else wood(rng)
    spread, count = tall * 0.28, int(tall / 0.27)
    for side in (-1, 1):
        shape.add(rod((side * wide / 2, 0, spread), (side * wide * 0.36, tall, 0.02), 0.022, colour))
        shape.add(rod((side * wide / 2, 0, -spread), (side * wide * 0.36, tall, -0.02), 0.018, colour))
    for index in range(1, count):
        share = index / count
        half, y, z = wide * (0.5 - 0.14 * share), share * tall, spread * (1 - share) + 0.02 * share
        shape.add(box((2 * half, 0.025, 0.08), colour).moved(0, y - 0.0125, z))
        if index == 1:
            shape.anchor("stand", (0, y + 0.0125, z), UP, (0, 0, -1), 0.04)
    shape.add(box((wide * 0.76, 0.03, 0.16), colour, bevel=0.005).moved(y=tall - 0.015))
    share = min(1.25 / tall, 0.9)
    for name, side in (("grip_left", -1), ("grip_right", 1)):  # of the climber, who looks to -z
        x, z = side * wide * (0.5 - 0.14 * share), spread * (1 - share) + 0.02 * share
        shape.grip(name, (x, share * tall, z), (side, 0, 0.5), UP, 0.022)
    return shape


def swing(rng: np.random.Generator) -> Shape:
    """A swing in its frame; the sitter looks along +z."""
    shape = Shape()
    wide, tall, seat = rng.uniform(1.4, 1.9), rng.uniform(1.9, 2.3), rng.uniform(0.42, 0.52)
    frame, rope = paint(rng) if rng.random() < 0.6 else wood(rng), any_colour((0.75, 0.65, 0.45), rng)
    shape.add(rod((-wide / 2, tall, 0), (wide / 2, tall, 0), 0.04, frame))
    for side in (-1, 1):
        for depth in (-1, 1):
            shape.add(rod((side * wide / 2, tall, 0), (side * wide / 2, 0, depth * tall * 0.33), 0.035, frame))
        shape.add(rod((side * 0.24, seat, 0), (side * 0.24, tall, 0), 0.012, rope))
    shape.add(box((0.54, 0.04, 0.24), paint(rng), corner=0.03, bevel=0.01).moved(y=seat - 0.04))
    shape.anchor("seat", (0, seat, 0), UP, FRONT, 0.12)
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.grip(name, (side * 0.24, seat + 0.5, 0), (side, 0, 0), UP, 0.012)
    shape.anchor("push", (0, seat - 0.02, -0.12), (0, 0, -1), UP, 0.2)
    return shape


def deck_chair(rng: np.random.Generator) -> Shape:
    """A sun lounger with its back raised; its foot end is at +z."""
    shape = Shape()
    long, wide, height = rng.uniform(1.3, 1.6), rng.uniform(0.55, 0.65), rng.uniform(0.3, 0.38)
    cloth, frame = paint(rng), wood(rng) if rng.random() < 0.6 else metal(rng)
    split, lean = -long * 0.12, np.radians(rng.uniform(28, 50))
    flat = long / 2 - split
    shape.add(box((wide, 0.05, flat), cloth, corner=0.04, bevel=0.015).moved(0, height - 0.05, split + flat / 2))
    back = long * 0.42
    rest = (
        box((wide, 0.05, back), cloth, corner=0.04, bevel=0.015)
        .moved(y=-0.05, z=-back / 2)
        .turned("x", np.degrees(lean))
    )
    shape.add(rest.moved(0, height, split))
    for side in (-1, 1):
        x = side * (wide / 2 + 0.02)
        shape.add(rod((x, height - 0.06, long / 2), (x, height - 0.06, split - 0.3), 0.02, frame))
        for z in (long / 2 - 0.12, split - 0.2):
            shape.add(rod((x, 0, z), (x, height - 0.06, z), 0.018, frame))
        shape.add(
            rod(
                (x, height - 0.06, split),
                (x, height - 0.03 + np.sin(lean) * back, split - np.cos(lean) * back),
                0.018,
                frame,
            )
        )
    shape.anchor("seat", (0, height, split + 0.22), UP, FRONT, wide / 2)
    shape.anchor("lie", (0, height, split + 0.15), UP, (0, 0, -1), wide / 2)
    middle = back * 0.5
    shape.anchor(
        "back",
        (0, height + np.sin(lean) * middle, split - np.cos(lean) * middle),
        (0, np.cos(lean), np.sin(lean)),
        UP,
        back / 2,
    )
    return shape


GENERATORS = {
    "fire hydrant": fire_hydrant,
    "parking meter": parking_meter,
    "stop sign": stop_sign,
    "traffic light": traffic_light,
    "railing": railing,
    "stairs": stairs,
    "ladder": ladder,
    "swing": swing,
    "deck chair": deck_chair,
}
