"""Two wheels to ride: bicycle and motorcycle; they drive to +z, the rider's left is +x."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import Colour, any_colour, metal, paint
from interactvlm.objects.primitives import box, ellipsoid, lathe, oval, rod, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)
RUBBER = (0.08, 0.08, 0.08)


def _wheel(shape: Shape, z: float, radius: float, tyre: float, rim: Colour, spokes: int) -> None:
    ring = oval(2 * (radius - tyre), 2 * (radius - tyre), 22)
    path = np.stack([np.zeros(22), ring[:, 0] + radius, ring[:, 1] + z], axis=1)
    shape.add(tube(path, tyre, RUBBER, sides=6, closed=True, across=(1, 0, 0)))
    shape.add(rod((-0.03, radius, z), (0.03, radius, z), max(tyre * 0.9, 0.018), rim))
    for angle in np.linspace(0, np.pi, spokes, endpoint=False):
        y, dz = np.sin(angle) * (radius - tyre), np.cos(angle) * (radius - tyre)
        shape.add(
            tube(
                np.array([[0, radius - y, z - dz], [0, radius + y, z + dz]]),
                0.003 if spokes > 3 else 0.012,
                rim,
                sides=4,
            )
        )


def _handlebar(shape: Shape, y: float, z: float, half: float, back: float, colour: Colour) -> None:
    """A bar across at (y, z) whose ends come back towards the rider."""
    path = np.array(
        [
            [-half, y, z - back],
            [-half * 0.55, y, z - back * 0.7],
            [-0.03, y, z],
            [0.03, y, z],
            [half * 0.55, y, z - back * 0.7],
            [half, y, z - back],
        ]
    )
    shape.add(tube(path, 0.012, colour, sides=8))
    slope = back * 0.3 / (half * 0.45)
    for name, side in (("handlebar_left", 1), ("handlebar_right", -1)):
        outwards = np.array([side, 0, -slope]) / np.hypot(1, slope)
        start = np.array([side * half * 0.72, y, z - back + slope * half * 0.28])
        end = np.array([side * half, y, z - back]) + outwards * 0.005
        shape.add(rod(start, end, 0.016, RUBBER))
        shape.grip(name, tuple((start + end) / 2), (0, 1, -0.5), tuple(outwards), 0.016)


def bicycle(rng: np.random.Generator) -> Shape:
    """A bicycle with a diamond frame, its left crank down or up."""
    shape = Shape()
    radius, base = rng.uniform(0.32, 0.35), rng.uniform(1.02, 1.12)
    frame, steel, tyre = paint(rng), metal(rng), rng.uniform(0.015, 0.028)
    rear, front = -base * 0.42, base * 0.58
    crank_y, crank_z = radius - 0.05, rear + 0.43
    seat_y, seat_z = rng.uniform(0.90, 1.0), crank_z - 0.22
    head_y, head_z = 0.86, front - 0.20
    for z in (rear, front):
        _wheel(shape, z, radius, tyre, steel, 8)
    low = (0, head_y - 0.14, head_z + 0.045)
    down = (0, 0.72, seat_z + 0.055)
    shape.add(
        rod((0, crank_y, crank_z), low, 0.018, frame),
        rod(down, (0, head_y, head_z), 0.016, frame),
        rod((0, crank_y, crank_z), (0, seat_y - 0.04, seat_z), 0.016, frame),
        rod((0, head_y - 0.17, head_z + 0.055), (0, head_y + 0.08, head_z - 0.025), 0.02, frame),
    )
    for side in (-1, 1):
        shape.add(rod((side * 0.05, radius, rear), (side * 0.02, crank_y, crank_z), 0.009, frame))
        shape.add(rod((side * 0.05, radius, rear), (side * 0.02, 0.70, seat_z + 0.06), 0.008, frame))
        shape.add(rod((side * 0.05, radius, front), (side * 0.03, head_y - 0.16, head_z + 0.05), 0.011, frame))
    _handlebar(
        shape,
        head_y + rng.uniform(0.1, 0.2),
        head_z + rng.uniform(0.0, 0.06),
        rng.uniform(0.27, 0.32),
        rng.uniform(0.05, 0.2),
        steel,
    )
    bar = shape.parts[-3].vertices.mean(axis=0)
    shape.add(rod((0, head_y + 0.06, head_z - 0.02), (0, bar[1], bar[2] + 0.07), 0.013, steel))
    saddle = ellipsoid((0.075, 0.03, 0.14), any_colour(RUBBER, rng), sides=16)
    tapered = saddle.vertices.copy()
    tapered[:, 0] *= np.interp(tapered[:, 2], [-0.14, -0.05, 0.14], [1.0, 1.0, 0.35])
    tapered[:, 1] = np.minimum(tapered[:, 1], 0.012)
    shape.add(type(saddle)(tapered, saddle.faces, saddle.colour).moved(0, seat_y - 0.012, seat_z))
    shape.anchor("saddle", (0, seat_y, seat_z - 0.03), UP, FRONT, 0.075)
    disc = lathe([(0, -0.004), (0.09, -0.004), (0.09, 0.004), (0, 0.004)], steel, sides=18)
    shape.add(disc.turned("z", 90).moved(-0.05, crank_y, crank_z))
    crank, reach = np.radians(rng.uniform(0, 360)), 0.165
    for name, side in (("pedal_left", 1), ("pedal_right", -1)):
        dy, dz = side * np.cos(crank) * reach, side * np.sin(crank) * reach
        shape.add(rod((side * 0.06, crank_y, crank_z), (side * 0.075, crank_y + dy, crank_z + dz), 0.011, steel))
        shape.add(box((0.09, 0.022, 0.09), RUBBER, corner=0.015).moved(side * 0.12, crank_y + dy - 0.011, crank_z + dz))
        shape.anchor(name, (side * 0.12, crank_y + dy + 0.011, crank_z + dz), UP, FRONT, 0.045)
    shape.add(rod((-0.06, crank_y, crank_z), (0.06, crank_y, crank_z), 0.02, steel))
    return shape


def motorcycle(rng: np.random.Generator) -> Shape:
    """A motorcycle with tank, engine, seat and foot pegs."""
    shape = Shape()
    radius, base, tyre = rng.uniform(0.30, 0.33), rng.uniform(1.32, 1.46), rng.uniform(0.06, 0.075)
    body, steel, dark = paint(rng), metal(rng), any_colour(RUBBER, rng)
    rear, front = -base / 2, base / 2
    for z in (rear, front):
        _wheel(shape, z, radius, tyre, steel, 3)
    height = rng.uniform(0.76, 0.82)
    head_y, head_z = 0.92, front - 0.32
    for side in (-1, 1):
        shape.add(rod((side * 0.09, radius, front), (side * 0.09, head_y + 0.04, head_z), 0.025, steel))
        shape.add(rod((side * 0.10, radius, rear), (side * 0.12, 0.38, -0.1), 0.025, dark))
        shape.add(rod((side * 0.10, radius, rear), (side * 0.11, height - 0.05, -0.38), 0.022, steel))
    shape.add(box((0.24, 0.34, 0.46), dark, corner=0.06, bevel=0.04).moved(0, 0.24, 0.06))
    shape.add(rod((0.17, 0.34, 0.2), (0.17, 0.32, rear - 0.05), (0.03, 0.045), steel))
    shape.add(rod((0, 0.5, -0.25), (0, head_y, head_z), 0.05, dark))
    tank = ellipsoid((0.15, 0.15, 0.27), body, sides=18).moved(0, height + 0.02, 0.22)
    shape.add(tank)
    seat = box((0.28, 0.11, 0.68), dark, corner=0.1, bevel=0.035).moved(0, height - 0.11, -0.30)
    shape.add(seat)
    shape.add(box((0.2, 0.07, 0.34), body, corner=0.06, bevel=0.03).moved(0, height - 0.1, rear - 0.02))
    shape.add(box((0.16, 0.025, 0.42), body, corner=0.06, bevel=0.008).moved(0, 2 * radius + 0.01, front - 0.03))
    shape.add(ellipsoid((0.09, 0.09, 0.07), steel, sides=14).moved(0, head_y - 0.04, head_z + 0.08))
    _handlebar(
        shape, head_y + rng.uniform(0.1, 0.16), head_z - 0.04, rng.uniform(0.34, 0.39), rng.uniform(0.1, 0.2), steel
    )
    for name, side in (("pedal_left", 1), ("pedal_right", -1)):
        shape.add(rod((side * 0.1, 0.34, -0.08), (side * 0.26, 0.34, -0.08), 0.014, dark))
        shape.anchor(name, (side * 0.2, 0.354, -0.08), UP, FRONT, 0.05)
    shape.anchor("saddle", (0, height, -0.16), UP, FRONT, 0.14)
    return shape


GENERATORS = {"bicycle": bicycle, "motorcycle": motorcycle}
