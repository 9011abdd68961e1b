"""Bags and boxes: backpack, handbag, suitcase, box."""

from __future__ import annotations

import numpy as np

from interactvlm.objects.assembly import Shape
from interactvlm.objects.palette import any_colour, metal, paint
from interactvlm.objects.primitives import box, rod, tube

__all__ = ["GENERATORS"]

UP, FRONT = (0, 1, 0), (0, 0, 1)


def backpack(rng: np.random.Generator) -> Shape:
    """A backpack standing up: pocket at +z, straps and the carrier at -z."""
    shape = Shape()
    tall, wide, deep = rng.uniform(0.40, 0.52), rng.uniform(0.28, 0.34), rng.uniform(0.13, 0.18)
    cloth = paint(rng)
    dark = any_colour((cloth[0] * 0.6, cloth[1] * 0.6, cloth[2] * 0.6), rng, 0.03)
    shape.add(box((wide, tall, deep), cloth, corner=0.06, bevel=0.05))
    shape.add(
        box((wide * 0.75, tall * 0.42, 0.06), dark, corner=0.025, bevel=0.02).moved(0, tall * 0.07, deep / 2 + 0.01)
    )
    for side in (-1, 1):
        x = side * wide * 0.25
        rows = [
            [x * 0.7, tall * 0.93, -deep / 2 + 0.012],
            [x, tall * 0.9, -deep / 2 - 0.05],
            [x * 1.15, tall * 0.6, -deep / 2 - 0.075],
            [x * 1.3, tall * 0.3, -deep / 2 - 0.05],
            [x * 1.35, tall * 0.12, -deep / 2 + 0.012],
        ]
        shape.add(tube(np.array(rows), 0.027, dark, sides=8, flat=0.25, across=(0, 0.5, 1)))
    angle = np.linspace(0, np.pi, 7)
    path = np.stack([np.cos(angle) * 0.05, tall - 0.006 + np.sin(angle) * 0.035, np.full(7, -deep / 2 + 0.05)], axis=1)
    shape.add(tube(path, 0.008, dark, sides=6))
    shape.anchor("strap", (0, tall * 0.62, -deep / 2), (0, 0, -1), UP, tall / 2)
    shape.grip("grip", (0, tall + 0.029, -deep / 2 + 0.05), UP, (1, 0, 0), 0.008)
    return shape


def handbag(rng: np.random.Generator) -> Shape:
    """A handbag: short handles for the hand or a long one for the shoulder."""
    shape = Shape()
    tall, wide, deep = rng.uniform(0.19, 0.29), rng.uniform(0.25, 0.37), rng.uniform(0.09, 0.14)
    reach = float(rng.choice([rng.uniform(0.10, 0.14), rng.uniform(0.22, 0.28)]))
    cloth = paint(rng)
    dark = any_colour((cloth[0] * 0.7, cloth[1] * 0.7, cloth[2] * 0.7), rng, 0.03)
    body = box((wide, tall, deep), cloth, corner=0.035, bevel=0.03)
    narrow = body.vertices.copy()
    narrow[:, 2] *= 1 - 0.45 * narrow[:, 1] / tall
    narrow[:, 0] *= 1 - 0.12 * narrow[:, 1] / tall
    shape.add(type(body)(narrow, body.faces, cloth))
    angle = np.linspace(0, np.pi, 11)
    path = np.stack([np.cos(angle) * wide * 0.28, tall - 0.02 + np.sin(angle) * (reach + 0.02), np.zeros(11)], axis=1)
    shape.add(tube(path, 0.009, dark, sides=8))
    shape.grip("grip", (0, tall + reach, 0), UP, (1, 0, 0), 0.009)
    shape.anchor("strap", (0, tall * 0.5, -deep / 2 * 0.775), (0, 0, -1), UP, tall / 2)
    return shape


def suitcase(rng: np.random.Generator) -> Shape:
    """A suitcase on wheels with its handle drawn out at -z's side, or a case with a handle on top."""
    shape = Shape()
    tall, wide, deep = rng.uniform(0.48, 0.66), rng.uniform(0.34, 0.45), rng.uniform(0.2, 0.27)
    shell, dark, rail = paint(rng), any_colour((0.1, 0.1, 0.1), rng), metal(rng)
    wheeled = rng.random() < 0.7
    floor = 0.05 if wheeled else 0.0
    shape.add(box((wide, tall, deep), shell, corner=0.04, bevel=0.03).moved(y=floor))
    for y in (0.25, 0.5, 0.75):
        shape.add(box((wide * 1.01, 0.012, deep * 1.02), dark, corner=0.04).moved(y=floor + tall * y))
    top = floor + tall
    if wheeled:
        for sx in (-1, 1):
            for sz in (-1, 1):
                wheel = rod((-0.012, 0, 0), (0.012, 0, 0), 0.026, dark)
                shape.add(wheel.moved(sx * wide * 0.38, 0.026, sz * deep * 0.35))
        drawn = rng.uniform(0.3, 0.42)
        for side in (-1, 1):
            shape.add(rod((side * 0.09, top - 0.03, -deep * 0.4), (side * 0.09, top + drawn, -deep * 0.4), 0.009, rail))
        shape.add(rod((-0.105, top + drawn, -deep * 0.4), (0.105, top + drawn, -deep * 0.4), 0.015, dark))
        shape.grip("grip", (0, top + drawn, -deep * 0.4), UP, (1, 0, 0), 0.015)
    else:
        angle = np.linspace(0, np.pi, 9)
        path = np.stack([np.cos(angle) * 0.07, top - 0.005 + np.sin(angle) * 0.05, np.zeros(9)], axis=1)
        shape.add(tube(path, 0.011, dark, sides=8))
        shape.grip("grip", (0, top + 0.045, 0), UP, (1, 0, 0), 0.011)
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * wide / 2, floor + tall * 0.4, 0), (side, 0, 0), FRONT, deep / 2)
    shape.anchor("top", (0, top, 0.03), UP, FRONT, deep / 2)
    shape.anchor("seat", (0, top, 0.03), UP, FRONT, deep / 2)
    return shape


def carton(rng: np.random.Generator) -> Shape:
    """A cardboard box, taped shut, to carry with both hands."""
    shape = Shape()
    wide, tall, deep = rng.uniform(0.28, 0.5), rng.uniform(0.2, 0.36), rng.uniform(0.24, 0.38)
    paper = any_colour((0.68, 0.52, 0.34), rng)
    shape.add(box((wide, tall, deep), paper))
    shape.add(box((wide + 0.002, 0.0015, 0.05), any_colour((0.80, 0.70, 0.50), rng)).moved(y=tall - 0.0005))
    for name, side in (("grip_left", 1), ("grip_right", -1)):
        shape.anchor(name, (side * wide / 2, tall * 0.3, 0), (side, 0, 0), FRONT, deep / 2)
    shape.anchor("top", (0, tall + 0.001, 0), UP, FRONT, min(wide, deep) / 2)
    shape.anchor("push", (0, tall * 0.75, -deep / 2), (0, 0, -1), UP, wide / 2)
    shape.anchor("kick", (0, tall * 0.3, -deep / 2), (0, 0, -1), UP, wide / 2)
    return shape


GENERATORS = {"backpack": backpack, "handbag": handbag, "suitcase": suitcase, "box": carton}
