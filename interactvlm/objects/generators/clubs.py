"""Sports gear for hands and feet: bat, racket, balls, frisbee, glove, kite. Long things lie with their heads to +z."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, metal, paint, wood
from interactvlm.objects.primitives import box, ellipsoid, lathe, oval, prism, rod, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)


def baseball_bat(rng: np.random.Generator) -> Shape:
    """A bat with its barrel to +z; a right-hander's right hand is the one nearer to the barrel."""
    shape = Shape()
    length, barrel, handle = rng.uniform(0.74, 0.87), rng.uniform(0.029, 0.034), rng.uniform(0.012, 0.014)
    colour = wood(rng) if rng.random() < 0.6 else (metal(rng) if rng.random() < 0.5 else paint(rng))
    grip = any_colour((0.12, 0.11, 0.11), rng)
    body = [
        (0, 0.3),
        (handle * 1.02, 0.3),
        (handle * 1.3, 0.42),
        (barrel * 0.8, 0.62),
        (barrel, 0.78),
        (barrel, 0.96),
        (barrel * 0.7, 0.995),
        (0, 1),
    ]
    hold = [(0, 0), (0.022, 0.002), (0.024, 0.012), (0.021, 0.022), (handle, 0.035), (handle, 0.31), (0, 0.31)]
    shape.add(lathe([(r, share * length) for r, share in body], colour, sides=16).turned("x", 90))
    shape.add(lathe([(r, share * length) for r, share in hold], grip, sides=14).turned("x", 90))
    shape.grip("grip", (0, 0, length * 0.13), UP, FRONT, handle)
    shape.grip("grip_left", (0, 0, length * 0.10), UP, FRONT, handle)
    shape.grip("grip_right", (0, 0, length * 0.21), UP, FRONT, handle)
    return shape


def tennis_racket(rng: np.random.Generator) -> Shape:
    """A racket lying flat, its head to +z."""
    shape = Shape()
    length, head, wide = rng.uniform(0.63, 0.70), rng.uniform(0.32, 0.36), rng.uniform(0.24, 0.28)
    frame, string, grip = paint(rng), (0.9, 0.9, 0.85), any_colour((0.15, 0.14, 0.14), rng)
    middle = length - head / 2
    hoop = oval(wide, head, 28)
    shape.add(
        tube(np.stack([hoop[:, 0], np.zeros(28), hoop[:, 1] + middle], axis=1), 0.011, frame, sides=6, closed=True)
    )
    # One thin plate stands for the strings: threads would need more triangles than the rest.
    shape.add(prism(oval(wide - 0.012, head - 0.012, 20), 0.004, string).moved(0, -0.002, middle))
    throat = length - head
    for side in (-1, 1):
        path = np.array(
            [[side * 0.008, 0, throat - 0.12], [side * 0.03, 0, throat - 0.05], [side * wide * 0.33, 0, throat + 0.05]]
        )
        shape.add(tube(path, 0.010, frame, sides=6))
    hold = max(throat - 0.1, 0.17)
    shape.add(
        lathe(
            [
                (0, 0),
                (0.019, 0),
                (0.019, 0.012),
                (0.0155, 0.02),
                (0.0155, hold),
                (0.012, hold + 0.01),
                (0, hold + 0.01),
            ],
            grip,
            sides=8,
        ).turned("x", 90)
    )
    shape.grip("grip", (0, 0, 0.09), UP, FRONT, 0.0155)
    shape.grip("grip_right", (0, 0, 0.06), UP, FRONT, 0.0155)
    shape.grip("grip_left", (0, 0, 0.15), UP, FRONT, 0.0155)
    return shape


def sports_ball(rng: np.random.Generator) -> Shape:
    """A ball: tennis, volley, foot or basket."""
    shape = Shape()
    kinds = (
        (0.0335, (0.80, 0.88, 0.20)),
        (0.105, (0.95, 0.95, 0.9)),
        (0.11, (0.92, 0.92, 0.92)),
        (0.12, (0.80, 0.42, 0.15)),
    )
    base, colour = kinds[int(rng.choice(4, p=(0.16, 0.24, 0.3, 0.3)))]
    radius = base * rng.uniform(0.96, 1.04)
    shape.add(ellipsoid((radius,) * 3, any_colour(colour, rng), sides=24))
    if base > 0.1:
        for turn in (0, 90):
            ring = oval(2 * radius, 2 * radius, 24)
            seam = tube(
                np.stack([ring[:, 0], np.zeros(24), ring[:, 1]], axis=1),
                0.003,
                any_colour((0.1, 0.1, 0.12), rng),
                sides=5,
                closed=True,
            )
            shape.add(seam.turned("x", turn))
        shape.anchor("grip_left", (radius, 0, 0), (1, 0, 0), FRONT, radius)
        shape.anchor("grip_right", (-radius, 0, 0), (-1, 0, 0), FRONT, radius)
    shape.anchor("grip", (0, -radius, 0), (0, -1, 0), FRONT, radius)
    shape.anchor("kick", (0, -radius * 0.4, -radius * 0.9165), (0, -0.4, -0.9165), (0, 0.9165, -0.4), radius)
    return shape


def frisbee(rng: np.random.Generator) -> Shape:
    """A flying disc lying on its rim."""
    shape = Shape()
    radius, tall, thick = rng.uniform(0.11, 0.14), rng.uniform(0.026, 0.032), 0.003
    profile = [
        (0, tall - thick), (radius - 0.02, tall - thick), (radius - 0.006, tall - 0.012), (radius - 0.006, 0),
        (radius, 0), (radius, tall * 0.5), (radius - 0.012, tall - 0.002), (radius * 0.6, tall), (0, tall),
    ]  # fmt: skip
    shape.add(lathe(profile, paint(rng), sides=32))
    half = tall / 2
    shape.anchor("grip", (0, tall * 0.4, -radius), (0, 0, -1), (1, 0, 0), half)
    shape.anchor("grip_left", (radius, tall * 0.4, 0), (1, 0, 0), FRONT, half)
    shape.anchor("grip_right", (-radius, tall * 0.4, 0), (-1, 0, 0), FRONT, half)
    return shape


def baseball_glove(rng: np.random.Generator) -> Shape:
    """A catcher's mitt lying on its back, the pocket up, the wrist at -z; worn on a left hand."""
    shape = Shape()
    leather = any_colour((0.45, 0.26, 0.13), rng)
    scale = rng.uniform(0.9, 1.1)
    shape.add(prism(oval(0.20 * scale, 0.22 * scale, 20), 0.035, leather, bevel=0.012))
    for angle in (-28, -10, 8, 26):
        finger = ellipsoid((0.024 * scale, 0.022, 0.075 * scale), leather, sides=10)
        shape.add(finger.moved(0, 0.03, 0.12 * scale).turned("x", -14).turned("y", angle))
    thumb = ellipsoid((0.026 * scale, 0.024, 0.07 * scale), leather, sides=10)
    shape.add(thumb.moved(0, 0.035, 0.09 * scale).turned("y", -72))
    shape.add(box((0.13 * scale, 0.05, 0.07), leather, corner=0.02, bevel=0.01).moved(0, 0, -0.12 * scale))
    shape.anchor("wear", (0, 0.035, 0), UP, FRONT, 0.1 * scale)
    shape.anchor("grip", (0, 0.035, 0), UP, FRONT, 0.1 * scale)
    return shape


def kite(rng: np.random.Generator) -> Shape:
    """A diamond kite standing on its tail's tip, with its spars."""
    shape = Shape()
    tall, wide = rng.uniform(0.8, 1.2), rng.uniform(0.7, 1.0)
    cloth, spar = paint(rng), wood(rng)
    outline = np.array([[0, -0.35 * tall], [wide / 2, 0.15 * tall], [0, 0.65 * tall], [-wide / 2, 0.15 * tall]])[:, :2]
    outline = np.stack([outline[:, 0], -outline[:, 1]], axis=1)
    shape.add(prism(outline, 0.004, cloth).turned("x", 90).moved(0, 0.35 * tall, 0))
    shape.add(rod((0, 0, -0.004), (0, tall, -0.004), 0.004, spar))
    shape.add(rod((-wide / 2, 0.5 * tall, -0.004), (wide / 2, 0.5 * tall, -0.004), 0.004, spar))
    shape.anchor("grip", (0, 0.4 * tall, -0.008), (0, 0, -1), UP, 0.004)
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * wide * 0.48, 0.5 * tall, 0), (side, 0, 0), UP, 0.004)
    return shape


GENERATORS = {
    "baseball bat": baseball_bat,
    "tennis racket": tennis_racket,
    "sports ball": sports_ball,
    "frisbee": frisbee,
    "baseball glove": baseball_glove,
    "kite": kite,
}
