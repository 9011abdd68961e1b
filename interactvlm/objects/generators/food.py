"""Food to hold and to eat; it lies as on a plate, its eaten end or top is the anchor "rim"."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import Colour, any_colour
from interactvlm.objects.primitives import Part, box, ellipsoid, lathe, oval, prism, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
BREAD, CRUST = (0.82, 0.60, 0.34), (0.70, 0.45, 0.22)


def _fruit(rng: np.random.Generator, radius: float, colours: tuple[Colour, ...], dimple: float, stalk: bool) -> Shape:
    shape = Shape()
    angle = np.linspace(-np.pi / 2, np.pi / 2, 13)
    squash = rng.uniform(0.88, 1.0)
    # The radius falls towards the stalk: a dimple at either end.
    heights = np.sin(angle) * squash * (1 - dimple * np.abs(np.sin(angle)) ** 9)
    profile = [(float(np.cos(a)) * radius, float(h) * radius) for a, h in zip(angle, heights, strict=True)]
    shape.add(lathe(profile, any_colour(colours[int(rng.integers(len(colours)))], rng), sides=20))
    if stalk:
        top = profile[-1][1]
        shape.add(
            tube(
                np.array([[0, top - 0.002, 0], [0.001, top + 0.008, 0], [0.004, top + 0.016, 0]]),
                0.0015,
                (0.3, 0.2, 0.1),
                sides=6,
            )
        )
    shape.grip("grip", (0, 0, 0), (0, 0, -1), UP, radius)
    shape.anchor("rim", (0, 0, radius), FRONT, UP, radius * 0.5)
    return shape


def apple(rng: np.random.Generator) -> Shape:
    """An apple."""
    colours = ((0.75, 0.10, 0.10), (0.45, 0.65, 0.15), (0.85, 0.65, 0.20))
    return _fruit(rng, rng.uniform(0.034, 0.042), colours, 0.25, stalk=True)


def orange(rng: np.random.Generator) -> Shape:
    """An orange."""
    return _fruit(rng, rng.uniform(0.034, 0.043), ((0.95, 0.52, 0.08),), 0.03, stalk=False)


def banana(rng: np.random.Generator) -> Shape:
    """A banana lying on its side."""
    shape = Shape()
    long, bend, thick = rng.uniform(0.17, 0.21), rng.uniform(0.9, 1.4), rng.uniform(0.016, 0.02)
    angle = np.linspace(-bend / 2, bend / 2, 15)
    turn = long / bend
    path = np.stack([turn * np.cos(angle) - turn, np.full(15, thick), turn * np.sin(angle)], axis=1)
    radii = thick * np.array([0.25, 0.45, 0.75, 0.92, 1, 1, 1, 1, 1, 1, 0.95, 0.8, 0.5, 0.28, 0.25])
    shape.add(tube(path, radii, any_colour((0.93, 0.80, 0.22), rng), sides=8))
    shape.grip("grip", (path[5][0], thick, path[5][2]), (1, 0, 0), FRONT, thick)
    shape.anchor("rim", (path[-1][0], thick, path[-1][2]), FRONT, UP, 0.008)
    return shape


def carrot(rng: np.random.Generator) -> Shape:
    """A carrot lying, its tip to +z, with leaves."""
    shape = Shape()
    long, thick = rng.uniform(0.11, 0.16), rng.uniform(0.012, 0.018)
    profile = [
        (0, 0),
        (thick * 0.8, 0.002),
        (thick, 0.012),
        (thick * 0.75, long * 0.5),
        (thick * 0.35, long * 0.9),
        (0, long),
    ]
    shape.add(lathe(profile, any_colour((0.92, 0.45, 0.10), rng), sides=14).turned("x", 90).moved(y=thick))
    for lean in (-0.3, 0.0, 0.3):
        path = np.array([[0, thick, 0.004], [lean * 0.02, thick, -0.02], [lean * 0.08, thick, -0.045]])
        shape.add(tube(path, (0.002, 0.003, 0.005), any_colour((0.20, 0.50, 0.15), rng), sides=6))
    shape.grip("grip", (0, thick, long * 0.3), UP, FRONT, thick * 0.88)
    shape.anchor("rim", (0, thick, long), FRONT, UP, 0.006)
    return shape


def broccoli(rng: np.random.Generator) -> Shape:
    """A head of broccoli standing on its stalk."""
    shape = Shape()
    tall, head = rng.uniform(0.13, 0.19), rng.uniform(0.035, 0.05)
    green = any_colour((0.18, 0.42, 0.14), rng)
    shape.add(
        lathe(
            [(0, 0), (0.016, 0), (0.014, tall * 0.3), (0.022, tall * 0.6), (0, tall * 0.6)],
            any_colour((0.55, 0.68, 0.35), rng),
            sides=10,
        )
    )
    for index in range(9):
        angle = index * 2.39996
        reach = head * np.sqrt(index / 9)
        bud = ellipsoid((head * 0.42,) * 3, any_colour(green, rng, 0.03), sides=10)
        shape.add(bud.moved(np.cos(angle) * reach, tall - head * 0.42 - reach * 0.45, np.sin(angle) * reach))
    shape.grip("grip", (0, tall * 0.25, 0), (0, 0, -1), UP, 0.0145)
    shape.anchor("rim", (0, tall, 0), UP, FRONT, head * 0.5)
    return shape


def donut(rng: np.random.Generator) -> Shape:
    """A ring doughnut with a glaze."""
    shape = Shape()
    radius, thick = rng.uniform(0.03, 0.035), rng.uniform(0.014, 0.019)
    ring = oval(2 * radius, 2 * radius, 24)
    glaze = ((0.88, 0.50, 0.60), (0.28, 0.16, 0.10), (0.95, 0.92, 0.85))[int(rng.integers(3))]
    for colour, size, lift in ((any_colour(BREAD, rng), thick, 0.0), (any_colour(glaze, rng), thick * 0.93, 0.003)):
        path = np.stack([ring[:, 0], np.full(24, thick + lift), ring[:, 1]], axis=1)
        shape.add(tube(path, size, colour, sides=10, closed=True))
    outer = radius + thick
    shape.anchor("grip", (0, thick, -outer), (0, 0, -1), (1, 0, 0), thick)
    shape.anchor("rim", (0, thick, outer), FRONT, UP, thick)
    return shape


def cake(rng: np.random.Generator) -> Shape:
    """A round cake on its side of cream, or a slice of it with the point to +z."""
    shape = Shape()
    radius, tall = rng.uniform(0.10, 0.14), rng.uniform(0.06, 0.1)
    cream, dough = any_colour((0.93, 0.85, 0.80), rng, 0.08), any_colour((0.45, 0.28, 0.16), rng, 0.1)
    if rng.random() < 0.5:
        shape.add(
            lathe([(0, 0), (radius, 0), (radius, tall * 0.95), (radius * 0.96, tall), (0, tall)], cream, sides=28)
        )
        for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
            shape.add(
                ellipsoid((0.012,) * 3, any_colour((0.75, 0.1, 0.15), rng), sides=8).moved(
                    np.cos(angle) * radius * 0.8, tall + 0.006, np.sin(angle) * radius * 0.8
                )
            )
        for name, side in (("grip_left", 1), ("grip_right", -1)):
            shape.anchor(name, (side * radius, tall * 0.4, 0), (side, 0, 0), UP, tall / 2)
    else:
        arc = np.linspace(-0.35, 0.35, 5)
        outline = np.concatenate(
            [[[0, radius]], np.stack([np.sin(arc) * radius, radius - np.cos(arc) * radius], axis=1)]
        )
        for colour, low, high in (
            (dough, 0.0, tall * 0.45),
            (cream, tall * 0.43, tall * 0.52),
            (dough, tall * 0.5, tall * 0.92),
            (cream, tall * 0.9, tall),
        ):
            shape.add(prism(outline, high - low, colour).moved(y=low))
        shape.anchor("grip", (0, tall * 0.4, 0.0), (0, 0, -1), UP, tall / 2)
        shape.anchor("rim", (0, tall * 0.4, radius * 0.99), FRONT, UP, 0.01)
    return shape


def hot_dog(rng: np.random.Generator) -> Shape:
    """A sausage in a bun along z."""
    shape = Shape()
    long, bread = rng.uniform(0.14, 0.18), any_colour(BREAD, rng)
    for side in (-1, 1):
        shape.add(ellipsoid((0.019, 0.025, long * 0.46), bread, sides=14).moved(side * 0.017, 0.025, 0))
    path = np.stack([np.zeros(7), np.full(7, 0.033), np.linspace(-long / 2, long / 2, 7)], axis=1)
    shape.add(
        tube(path, (0.006, 0.012, 0.0135, 0.0135, 0.0135, 0.012, 0.006), any_colour((0.62, 0.22, 0.12), rng), sides=12)
    )
    wave = np.linspace(-0.4, 0.4, 13) * long
    shape.add(
        tube(
            np.stack([np.sin(wave * 220) * 0.006, np.full(13, 0.047), wave], axis=1), 0.0025, (0.90, 0.72, 0.1), sides=6
        )
    )
    shape.anchor("grip", (0, 0.0155, 0), (0, -1, 0), FRONT, 0.03)
    shape.anchor("rim", (0, 0.033, long / 2), FRONT, UP, 0.02)
    return shape


def pizza(rng: np.random.Generator) -> Shape:
    """A pizza, or a slice of one with its point to +z."""
    shape = Shape()
    whole = rng.random() < 0.5
    radius = rng.uniform(0.13, 0.17) if whole else rng.uniform(0.19, 0.24)
    span = np.pi if whole else rng.uniform(0.32, 0.42)
    angle = np.linspace(-span, span, 29 if whole else 9)
    if whole:
        angle = angle[:-1]
    rim = np.stack([np.sin(angle) * radius, -np.cos(angle) * radius], axis=1)
    outline = rim if whole else np.concatenate([[[0.0, 0.0]], rim])
    shape.add(prism(outline, 0.008, any_colour(CRUST, rng)))
    shape.add(
        prism(outline * 0.9, 0.004, any_colour((0.90, 0.68, 0.32), rng)).moved(
            y=0.0075, z=0 if whole else -radius * 0.02
        )
    )
    for _ in range(14 if whole else 4):
        a, r = rng.uniform(-span, span) * 0.75, rng.uniform(0.3, 0.8) * radius
        slice_ = lathe([(0, 0), (0.015, 0), (0.015, 0.003), (0, 0.003)], any_colour((0.68, 0.12, 0.10), rng), sides=10)
        shape.add(slice_.moved(np.sin(a) * r, 0.0105, -np.cos(a) * r))
    if whole:
        for name, side in (("grip_left", 1), ("grip_right", -1)):
            shape.anchor(name, (side * radius, 0.004, 0), (side, 0, 0), FRONT, 0.004)
    else:
        shape.anchor("grip", (0, 0, -radius * 0.85), (0, -1, 0), FRONT, 0.03)
        shape.anchor("rim", (0, 0.004, 0), FRONT, UP, 0.01)
    return shape


def sandwich(rng: np.random.Generator) -> Shape:
    """A sandwich of two slices, a burger or a filled roll."""
    shape = Shape()
    kind, bread = int(rng.integers(3)), any_colour(BREAD, rng)
    fill = [any_colour(c, rng) for c in ((0.35, 0.60, 0.20), (0.80, 0.25, 0.18), (0.92, 0.75, 0.25))]
    if kind == 0:
        outline = np.array([[-0.065, -0.045], [0.065, -0.045], [0.0, 0.07]]) * rng.uniform(0.9, 1.1)
        layers: list[tuple[Part, float]] = [(prism(outline, 0.013, bread, bevel=0.003), 0.0)]
        layers += [(prism(outline * 1.03, 0.006, colour), 0.012 + 0.005 * i) for i, colour in enumerate(fill)]
        layers += [(prism(outline, 0.013, bread, bevel=0.003), 0.026)]
        half, back, front, tall = (
            float(outline[:, 0].max()) * 0.985,
            float(outline[:, 1].min()) * 1.03,
            float(outline[:, 1].max()) * 1.03,
            0.039,
        )
    elif kind == 1:
        r = rng.uniform(0.048, 0.058)
        layers = [(lathe([(0, 0), (r * 0.9, 0), (r, 0.01), (r, 0.018), (0, 0.018)], bread, sides=22), 0.0)]
        layers += [
            (lathe([(0, 0), (r * 1.06, 0), (r * 1.06, 0.007), (0, 0.007)], colour, sides=18), 0.016 + 0.007 * i)
            for i, colour in enumerate(fill)
        ]
        layers += [(lathe([(0, 0), (r, 0), (r * 0.95, 0.014), (r * 0.6, 0.026), (0, 0.03)], bread, sides=22), 0.036)]
        half, back, front, tall = r * 1.06, -r * 1.06, r * 1.06, 0.05
    else:
        long, r = rng.uniform(0.16, 0.2), 0.03
        layers = [(ellipsoid((r, 0.018, long / 2), bread, sides=16), 0.018)]
        layers += [
            (box((2 * r * 1.04, 0.006, long * 0.8), colour, corner=0.02), 0.022 + 0.004 * i)
            for i, colour in enumerate(fill)
        ]
        layers += [(ellipsoid((r, 0.02, long / 2), bread, sides=16), 0.04)]
        half, back, front, tall = r * 1.04, -long / 2, long / 2, 0.056
    for part, y in layers:
        shape.add(part.moved(y=y))
    depth = back * 0.9 if kind == 0 else 0.0
    height = (0.02, 0.026, 0.028)[kind]
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * half, height, depth), (side, 0, 0), UP, tall / 2)
    shape.anchor("grip", (0, 0, 0), (0, -1, 0), FRONT, half)
    shape.anchor("rim", (0, 0.018 if kind == 2 else height, front), FRONT, UP, 0.02)
    return shape


GENERATORS = {
    "apple": apple,
    "banana": banana,
    "broccoli": broccoli,
    "cake": cake,
    "carrot": carrot,
    "donut": donut,
    "hot dog": hot_dog,
    "orange": orange,
    "pizza": pizza,
    "sandwich": sandwich,
}
