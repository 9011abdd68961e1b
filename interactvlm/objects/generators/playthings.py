"""Things to play with or on: teddy bear, guitar."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, metal, paint, wood
from interactvlm.objects.primitives import box, ellipsoid, lathe, prism, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)


def teddy_bear(rng: np.random.Generator) -> Shape:
    """A sitting teddy bear."""
    shape = Shape()
    scale = rng.uniform(0.7, 1.45)
    fur = any_colour(((0.55, 0.36, 0.20), (0.82, 0.66, 0.42), (0.90, 0.88, 0.84))[int(rng.integers(3))], rng)
    light, dark = any_colour((0.88, 0.78, 0.62), rng), (0.06, 0.05, 0.05)
    s = scale

    def ball(
        radii: tuple[float, float, float], x: float, y: float, z: float, colour: tuple[float, float, float]
    ) -> None:
        shape.add(ellipsoid([r * s for r in radii], colour, sides=12).moved(x * s, y * s, z * s))

    ball((0.085, 0.10, 0.075), 0, 0.095, 0, fur)
    ball((0.055, 0.07, 0.02), 0, 0.09, 0.062, light)
    ball((0.068, 0.064, 0.06), 0, 0.235, 0.01, fur)
    ball((0.032, 0.026, 0.03), 0, 0.22, 0.06, light)
    ball((0.010, 0.008, 0.008), 0, 0.228, 0.088, dark)
    for side in (-1, 1):
        ball((0.026, 0.026, 0.014), side * 0.052, 0.288, 0.005, fur)
        ball((0.008, 0.008, 0.006), side * 0.026, 0.25, 0.064, dark)
        ball((0.03, 0.065, 0.032), side * 0.098, 0.125, 0.02, fur)
        ball((0.036, 0.036, 0.075), side * 0.065, 0.036, 0.085, fur)
        ball((0.03, 0.032, 0.01), side * 0.065, 0.036, 0.156, light)
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * 0.128 * s, 0.125 * s, 0.02 * s), (side, 0, 0), UP, 0.06 * s)
    shape.anchor("grip", (0, 0.1 * s, -0.075 * s), (0, 0, -1), UP, 0.08 * s)
    return shape


def guitar(rng: np.random.Generator) -> Shape:
    """An acoustic guitar standing upright, its strings to +z; played by a right-hander it lies with its neck to +x."""
    shape = Shape()
    tall, deep = rng.uniform(0.94, 1.05), rng.uniform(0.09, 0.11)
    body, neck = wood(rng) if rng.random() < 0.7 else paint(rng), wood(rng)
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    half = 0.24 * tall
    along = -np.cos(angle) * half
    share = (along + half) / (2 * half)
    wide = (
        np.sqrt(np.clip(1 - (along / half) ** 2, 0, 1)) ** 0.75
        * tall
        * (0.20 - 0.055 * np.exp(-(((share - 0.6) / 0.14) ** 2)) - 0.045 * share)
    )
    outline = np.stack([np.sign(np.sin(angle)) * wide, -(along + half)], axis=1)
    shape.add(prism(outline, deep, body, bevel=0.006).turned("x", 90).moved(z=-deep / 2))
    top = 2 * half
    shape.add(
        lathe([(0, 0), (0.05, 0), (0.05, 0.003), (0, 0.003)], (0.08, 0.06, 0.05), sides=20)
        .turned("x", 90)
        .moved(0, top * 0.66, deep / 2 - 0.0005)
    )
    shape.add(box((0.05, tall * 0.42, 0.022), neck, bevel=0.004).moved(0, top - 0.03, deep / 2 - 0.012))
    shape.add(box((0.07, tall - top - tall * 0.38, 0.016), neck).moved(0, top + tall * 0.38, deep / 2 - 0.014))
    shape.add(box((0.14, 0.02, 0.012), neck).moved(0, top * 0.28, deep / 2 - 0.001))
    for x in (-0.018, -0.006, 0.006, 0.018):
        shape.add(
            tube(
                np.array([[x, top * 0.29, deep / 2 + 0.011], [x, tall * 0.93, deep / 2 + 0.0115]]),
                0.0007,
                metal(rng),
                sides=4,
            )
        )
    shape.anchor("grip_left", (0, top + tall * 0.28, deep / 2 - 0.023), (0, 0, -1), UP, 0.025)
    shape.anchor("grip_right", (0, top * 0.45, deep / 2), FRONT, (1, 0, 0), 0.05)
    shape.anchor("grip", (0, top + tall * 0.2, deep / 2 - 0.023), (0, 0, -1), UP, 0.025)
    return shape


GENERATORS = {"teddy bear": teddy_bear, "guitar": guitar}
