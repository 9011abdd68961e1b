"""Seats: chairs, stools, benches, couches, toilets."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import Colour, metal, paint, wood
from interactvlm.objects.primitives import Part, box, ellipsoid, lathe, loft, oval, prism, rod, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)


def _legs(width: float, depth: float, height: float, radius: float, splay: float, colour: Colour) -> list[Part]:
    return [
        rod(
            (sx * (width / 2 + splay), 0, sz * (depth / 2 + splay)),
            (sx * width / 2, height, sz * depth / 2),
            radius,
            colour,
        )
        for sx in (-1, 1)
        for sz in (-1, 1)
    ]


def _backrest(
    shape: Shape, width: float, low: float, high: float, z: float, thick: float, lean: float, colour: Colour
) -> None:
    """A plate behind the seat that leans back by `lean` metres at its top, with its anchor."""
    plate = box((width, high - low, thick), colour, corner=thick * 0.4, bevel=thick * 0.3).moved(y=low, z=z)
    share = (plate.vertices[:, 1:2] - low) / (high - low)
    leaned = Part(plate.vertices - share * [0, 0, lean], plate.faces, colour)
    shape.add(leaned)
    shape.anchor(
        "back",
        (0, (low + high) / 2, z + thick / 2 - lean / 2),
        (0, lean, high - low),
        UP,
        (high - low) / 2,
    )


def chair(rng: np.random.Generator) -> Shape:
    """A chair of one of four kinds: wooden, upholstered, with armrests, on wheels."""
    shape = Shape()
    width, depth = rng.uniform(0.38, 0.50), rng.uniform(0.38, 0.48)
    height, thick = rng.uniform(0.42, 0.48), rng.uniform(0.025, 0.08)
    top = height + rng.uniform(0.36, 0.55)
    kind = int(rng.integers(4))
    frame = metal(rng) if kind in (1, 3) else wood(rng)
    cover = paint(rng) if kind else frame
    shape.add(box((width, thick, depth), cover, corner=0.05, bevel=thick * 0.25).moved(y=height - thick))
    back_z, lean = -depth / 2 + 0.01, rng.uniform(0.03, 0.12)
    if kind == 3:
        shape.add(lathe([(0, 0.05), (0.03, 0.05), (0.03, height - thick), (0, height - thick)], frame, sides=10))
        for angle in np.linspace(0, 2 * np.pi, 5, endpoint=False):
            tip = (np.sin(angle) * 0.28, 0.06, np.cos(angle) * 0.28)
            shape.add(rod((0, 0.08, 0), tip, (0.025, 0.015), frame))
            shape.add(ellipsoid((0.03, 0.03, 0.03), (0.08, 0.08, 0.08), sides=8).moved(tip[0], 0.03, tip[2]))
        shape.add(rod((0, height - thick, back_z + 0.02), (0, height + 0.2, back_z - 0.02), 0.02, frame))
    else:
        radius = rng.uniform(0.014, 0.022)
        shape.add(*_legs(width - 0.06, depth - 0.06, height - thick / 2, radius, rng.uniform(0, 0.04), frame))
    if kind == 0 and rng.random() < 0.6:
        for y in np.linspace(height + 0.16, top - 0.03, int(rng.integers(2, 5))):
            z = back_z - lean * (y - height) / (top - height)
            shape.add(box((width - 0.02, 0.055, 0.018), frame).moved(y=y - 0.03, z=z))
        for side in (-1, 1):
            shape.add(
                rod(
                    (side * (width / 2 - 0.02), height - 0.02, back_z),
                    (side * (width / 2 - 0.02), top, back_z - lean),
                    0.016,
                    frame,
                )
            )
        slats = sorted(
            {round(float(part.vertices[:, 1].mean()), 4) for part in shape.parts if len(part.vertices) == 10}
        )
        middle = min((y for y in slats if y > height + 0.1), key=lambda y: abs(y - (height + top) / 2))
        z = back_z - lean * (middle + 0.0025 - height) / (top - height) + 0.009
        shape.anchor("back", (0, middle, z), (0, 0, 1), UP, (top - height) / 2)
    else:
        _backrest(
            shape,
            width * rng.uniform(0.85, 1),
            height + rng.uniform(0.02, 0.14),
            top,
            back_z,
            max(thick, 0.03),
            lean,
            cover,
        )
    if kind == 2 or (kind == 3 and rng.random() < 0.5):
        rest = height + rng.uniform(0.18, 0.24)
        for side in (-1, 1):
            x = side * (width / 2 + 0.02)
            shape.add(box((0.05, 0.03, depth * 0.75), frame, corner=0.02).moved(x, rest - 0.03, -depth * 0.1))
            shape.add(rod((x, height - thick / 2, depth * 0.15), (x, rest - 0.01, depth * 0.15), 0.014, frame))
            shape.add(rod((x, height - thick / 2, -depth * 0.35), (x, rest - 0.01, -depth * 0.35), 0.014, frame))
    shape.anchor("seat", (0, height, 0.02), UP, FRONT, min(width, depth) / 2)
    return shape


def stool(rng: np.random.Generator) -> Shape:
    """A stool: round or square, low or at a bar, on legs or on a foot."""
    shape = Shape()
    width, height = rng.uniform(0.30, 0.40), float(rng.choice([rng.uniform(0.42, 0.5), rng.uniform(0.62, 0.76)]))
    thick = rng.uniform(0.03, 0.08)
    frame, cover = (metal(rng) if rng.random() < 0.5 else wood(rng)), paint(rng)
    if rng.random() < 0.65:
        shape.add(prism(oval(width, width, 20), thick, cover, bevel=thick * 0.25).moved(y=height - thick))
    else:
        shape.add(box((width, thick, width), cover, corner=0.03, bevel=thick * 0.25).moved(y=height - thick))
    if rng.random() < 0.35:
        foot = rng.uniform(0.18, 0.22)
        profile = [(0, 0), (foot, 0), (foot, 0.015), (0.03, 0.03), (0.03, height - thick), (0, height - thick)]
        shape.add(lathe(profile, frame))
    else:
        inner, splay = width * 0.6, rng.uniform(0.02, 0.07)
        shape.add(*_legs(inner, inner, height - thick / 2, 0.016, splay, frame))
        ring = oval(inner * 1.35 + splay, inner * 1.35 + splay, 16)
        path = np.stack([ring[:, 0], np.full(16, height * 0.35), ring[:, 1]], axis=1)
        shape.add(tube(path, 0.01, frame, sides=6, closed=True))
    shape.anchor("seat", (0, height, 0), UP, FRONT, width / 2)
    shape.anchor("stand", (0, height, 0), UP, FRONT, width / 2)
    return shape


def bench(rng: np.random.Generator) -> Shape:
    """A park bench of slats, with or without a back."""
    shape = Shape()
    length, depth, height = rng.uniform(1.3, 1.9), rng.uniform(0.38, 0.46), rng.uniform(0.42, 0.47)
    slat, frame = wood(rng) if rng.random() < 0.7 else paint(rng), metal(rng)
    count = int(rng.integers(3, 5))
    pitch = depth / count
    for index in range(count):
        z = -depth / 2 + pitch * (index + 0.5)
        shape.add(box((length, 0.03, pitch * 0.86), slat).moved(y=height - 0.03, z=z))
    backed = rng.random() < 0.7
    top = height + rng.uniform(0.34, 0.45)
    for x in (-length * 0.4, length * 0.4):
        shape.add(box((0.05, 0.04, depth), frame).moved(x, height - 0.065))
        shape.add(box((0.05, height - 0.03, 0.05), frame).moved(x, 0, depth / 2 - 0.05))
        shape.add(box((0.05, height - 0.03, 0.05), frame).moved(x, 0, -depth / 2 + 0.04))
        if backed:
            shape.add(rod((x, height - 0.04, -depth / 2 + 0.01), (x, top, -depth / 2 - 0.09), 0.022, frame))
    if backed:
        lean = np.degrees(np.arctan2(0.1, top - height))
        for share in (0.3, 0.6, 0.9):
            y, z = height + share * (top - height), -depth / 2 - 0.1 * share + 0.025
            shape.add(box((length, 0.09, 0.025), slat).turned("x", -lean).moved(0, y - 0.045, z))
        y, z = height + 0.6 * (top - height), -depth / 2 - 0.06 + 0.025 + 0.0125
        shape.anchor("back", (0, y, z), (0, 0.1, top - height), UP, (top - height) / 2)
    middle = -depth / 2 + pitch * (count // 2 + 0.5)
    shape.anchor("seat", (0, height, middle), UP, FRONT, depth / 2)
    shape.anchor("lie", (0, height, middle), UP, (1, 0, 0), depth / 2)
    shape.anchor("stand", (0, height, middle), UP, FRONT, depth / 2)
    return shape


def couch(rng: np.random.Generator) -> Shape:
    """A couch of one to three seats with cushions."""
    shape = Shape()
    seats = int(rng.integers(1, 4))
    cushion, depth = rng.uniform(0.55, 0.68), rng.uniform(0.55, 0.66)
    arm, thick = rng.uniform(0.12, 0.22), rng.uniform(0.14, 0.2)
    height, back = rng.uniform(0.40, 0.46), rng.uniform(0.36, 0.48)
    inner, cover, legs = cushion * seats, paint(rng), wood(rng)
    base = height - thick
    shape.add(box((inner + 2 * arm, base - 0.05, depth + 0.2), cover, corner=0.04, bevel=0.02).moved(y=0.05, z=-0.1))
    for index in range(seats):
        x = (index - (seats - 1) / 2) * cushion
        shape.add(box((cushion * 0.985, thick, depth), cover, corner=0.06, bevel=0.03).moved(x, base))
        rest = box((cushion * 0.985, back, 0.16), cover, corner=0.05, bevel=0.03).turned("x", -8)
        shape.add(rest.moved(x, height - 0.02, -depth / 2 + 0.03))
    shape.add(
        box((inner + 2 * arm, height + back * 0.8, 0.14), cover, corner=0.05, bevel=0.03).moved(
            y=0.03, z=-depth / 2 - 0.12
        )
    )
    for side in (-1, 1):
        arm_height = height + rng.uniform(0.14, 0.2)
        part = box((arm, arm_height - 0.05, depth + 0.15), cover, corner=0.04, bevel=0.03)
        shape.add(part.moved(side * (inner + arm) / 2, 0.05, -0.07))
        for z in (-depth / 2 - 0.1, depth / 2 - 0.1):
            shape.add(box((0.05, 0.06, 0.05), legs).moved(side * inner / 2, 0, z))
    x = (seats // 2 - (seats - 1) / 2) * cushion
    shape.anchor("seat", (x, height, 0.02), UP, FRONT, min(cushion, depth) / 2)
    lean = np.radians(8)
    middle = back / 2
    y = height - 0.02 + middle * np.cos(lean) + 0.08 * np.sin(lean)
    z = -depth / 2 + 0.03 - middle * np.sin(lean) + 0.08 * np.cos(lean)
    shape.anchor("back", (x, y, z), (0, np.sin(lean), np.cos(lean)), UP, back / 2)
    if seats > 1:
        shape.anchor("lie", (x, height, 0.0), UP, (1, 0, 0), depth / 2)
    return shape


def toilet(rng: np.random.Generator) -> Shape:
    """A toilet with its tank and an open lid."""
    shape = Shape()
    white = (0.94, 0.94, 0.92) if rng.random() < 0.8 else paint(rng)
    height, width, depth = rng.uniform(0.40, 0.45), rng.uniform(0.35, 0.39), rng.uniform(0.42, 0.48)
    rings = []
    for share, y in ((0.55, 0.0), (0.5, 0.1), (0.75, height * 0.7), (1.0, height - 0.06), (1.0, height - 0.03)):
        outline = oval(width * share, depth * share, 20)
        rings.append(np.stack([outline[:, 0], np.full(20, y), outline[:, 1] - 0.06 * (1 - share)], axis=1))
    shape.add(loft(np.stack(rings), white))
    ring = oval(width * 0.76, depth * 0.78, 24)
    path = np.stack([ring[:, 0], np.full(24, height - 0.0165), ring[:, 1]], axis=1)
    shape.add(tube(path, width * 0.13, white, sides=8, closed=True, flat=0.0165 / (width * 0.13)))
    tank_z = -depth / 2 - 0.06
    tank = rng.uniform(0.3, 0.38)
    shape.add(box((width + 0.05, height - 0.08, 0.12), white, corner=0.03).moved(0, 0.02, tank_z + 0.02))
    shape.add(box((width + 0.08, tank, 0.18), white, corner=0.03, bevel=0.02).moved(0, height - 0.06, tank_z - 0.03))
    lid = prism(oval(width, depth, 20), 0.02, white, bevel=0.005).moved(z=depth / 2).turned("x", -82)
    shape.add(lid.moved(0, height, -depth / 2 + 0.035))
    # The middle of the opening: the surface begins around it.
    shape.anchor("seat", (0, height, 0), UP, FRONT, width / 2)
    return shape


GENERATORS = {"chair": chair, "stool": stool, "bench": bench, "couch": couch, "toilet": toilet}
