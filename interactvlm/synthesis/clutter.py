"""Things that nobody asks about: boxes, poles, bushes, shelves, cars, placed clear of the people and their objects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from interactvlm.synthesis.materials import Material, random_colour
from interactvlm.synthesis.noise import VOLUME, noise_volume

__all__ = ["Piece", "sample_clutter"]

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One surface of clutter.

    Attributes:
        vertices: float32 [V, 3], in the world.
        faces: int32 [F, 3].
        material: how it looks.
    """

    vertices: FloatArray
    faces: IntArray
    material: Material


def sample_clutter(
    rng: np.random.Generator,
    *,
    taken: NDArray[np.floating],
    camera: NDArray[np.float64],
    forward: NDArray[np.float64],
    indoor: bool,
) -> list[list[Piece]]:
    """Draw clutter around a scene.

    Args:
        rng: the scene's stream of clutter.
        taken: [N, 3], points of people and objects: nothing is placed within 15 cm of their bounding circle.
        camera: float64 [3], where the photographer stands.
        forward: float64 [3], where the camera looks.
        indoor: furniture-like pieces instead of bushes, poles and cars.

    Returns:
        One list of surfaces a thing.
    """
    floor = taken[:, [0, 2]].astype(np.float64)
    centre = (floor.min(axis=0) + floor.max(axis=0)) / 2
    radius = float(np.linalg.norm(floor - centre, axis=1).max()) + 0.15
    eye = camera[[0, 2]]
    ahead = forward[[0, 2]] / max(float(np.linalg.norm(forward[[0, 2]])), 1e-6)
    side = np.array([-ahead[1], ahead[0]])
    things: list[list[Piece]] = []
    for _ in range(int(rng.choice((0, 2, 4, 7, 11), p=(0.15, 0.25, 0.25, 0.2, 0.15)))):
        makers = _INDOOR if indoor else _OUTDOOR
        parts, reach = makers[int(rng.integers(len(makers)))](rng)
        depth = radius + reach + rng.exponential(1.2 if indoor else 4.0)
        spread = (np.linalg.norm(centre - eye) + depth) * 0.7
        place = centre + depth * ahead + rng.uniform(-spread, spread) * side
        if rng.random() < 0.2:  # beside them, or between them and the photographer
            turn = rng.uniform(-np.pi, np.pi)
            place = centre + (radius + reach) * rng.uniform(1.0, 1.6) * np.array([np.cos(turn), np.sin(turn)])
        if np.linalg.norm(place - centre) < radius + reach or np.linalg.norm(place - eye) < reach + 0.6:
            continue
        ray = np.clip((place - eye) @ (centre - eye) / max((centre - eye) @ (centre - eye), 1e-6), 0, 1)
        if ray < 0.999 and np.linalg.norm(eye + ray * (centre - eye) - place) < reach + 0.3 and rng.random() < 0.9:
            continue  # rarely in the line of sight
        turn = rng.uniform(-np.pi, np.pi)
        rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        things.append(
            [
                Piece((vertices @ rotation.T + np.array([place[0], 0.0, place[1]])).astype(np.float32), faces, material)
                for vertices, faces, material in parts
            ]
        )
    return things


Made = tuple[list[tuple[FloatArray, IntArray, Material]], float]


def _crate(rng: np.random.Generator) -> Made:
    size = np.exp(rng.uniform(np.log(0.15), np.log(1.1), 3))
    return [(*_box(size, (0.0, size[1] / 2, 0.0)), _paint(rng))], float(np.hypot(size[0], size[2]) / 2)


def _cupboard(rng: np.random.Generator) -> Made:
    size = np.array([rng.uniform(0.4, 1.8), rng.uniform(0.6, 2.1), rng.uniform(0.3, 0.6)])
    body, trim = _paint(rng), _paint(rng)
    parts = [(*_box(size, (0.0, size[1] / 2, 0.0)), body)]
    for level in np.arange(0.2, size[1] - 0.15, rng.uniform(0.2, 0.5)):
        parts.append((*_box((size[0] * 0.92, 0.12, 0.04), (0.0, float(level), size[2] / 2)), trim))
    return parts, float(np.hypot(size[0], size[2]) / 2)


def _table(rng: np.random.Generator) -> Made:
    width, height, depth = rng.uniform(0.6, 1.8), rng.uniform(0.4, 0.95), rng.uniform(0.4, 0.9)
    paint = _paint(rng)
    parts = [(*_box((width, 0.04, depth), (0.0, height, 0.0)), paint)]
    for x in (-width / 2 + 0.05, width / 2 - 0.05):
        for z in (-depth / 2 + 0.05, depth / 2 - 0.05):
            parts.append((*_box((0.05, height, 0.05), (x, height / 2, z)), paint))
    for _ in range(int(rng.integers(0, 5))):
        size = rng.uniform(0.05, 0.3, 3)
        where = (rng.uniform(-0.4, 0.4) * width, height + 0.02 + size[1] / 2, rng.uniform(-0.35, 0.35) * depth)
        parts.append((*_box(size, where), _paint(rng)))
    return parts, float(np.hypot(width, depth) / 2)


def _pole(rng: np.random.Generator) -> Made:
    radius, height = rng.uniform(0.02, 0.12), rng.uniform(1.0, 5.0)
    return [(*_cylinder(radius, height), _paint(rng))], radius


def _bush(rng: np.random.Generator) -> Made:
    size, material = rng.uniform(0.2, 1.2), _leaves(rng)
    vertices, faces = _blob(rng, size)
    return [(vertices + np.array([0, size * 0.6, 0], np.float32), faces, material)], size * 1.3


def _tree(rng: np.random.Generator) -> Made:
    size, height = rng.uniform(0.8, 2.0), rng.uniform(2.0, 4.5)
    bark = Material((0.09, 0.06, 0.04), grain=0.5, grain_frequency=40)
    vertices, faces = _blob(rng, size)
    crown = (vertices * np.float32(1.0) + np.array([0, height, 0], np.float32), faces, _leaves(rng))
    return [(*_cylinder(rng.uniform(0.08, 0.25), height), bark), crown], size * 1.3


def _rock(rng: np.random.Generator) -> Made:
    size, tone = rng.uniform(0.1, 0.5), rng.uniform(0.08, 0.5)
    vertices, faces = _blob(rng, size)
    flat = vertices * np.array([1, 0.6, 1], np.float32)
    return [(flat, faces, Material((tone, tone * 0.95, tone * 0.9), grain=0.4, grain_frequency=60))], size * 1.3


def _car(rng: np.random.Generator) -> Made:
    paint = Material(random_colour(rng), grain=0.02, specular=0.7, gloss=60)
    glass, tyre = Material((0.03, 0.035, 0.04), specular=0.9, gloss=80), Material((0.02, 0.02, 0.02))
    low, roof = rng.uniform(0.55, 0.9), rng.uniform(1.35, 1.9)
    parts = [(*_box((1.75, low, 4.2), (0.0, 0.25 + low / 2, 0.0)), paint)]
    cabin, faces = _box((1.6, roof - low - 0.25, 2.4), (0.0, (roof + low + 0.25) / 2, -0.2))
    top = cabin[:, 1] > cabin[:, 1].mean()
    cabin[top] *= np.array([0.85, 1, 0.7], np.float32)
    parts.append((cabin, faces, glass))
    for x in (-0.85, 0.85):
        for z in (-1.3, 1.3):
            wheel, around = _cylinder(0.32, 0.2)
            parts.append((np.stack([wheel[:, 1] - 0.1 + x, wheel[:, 0] + 0.32, wheel[:, 2] + z], axis=1), around, tyre))
    return parts, 2.4


def _fence(rng: np.random.Generator) -> Made:
    width, height, paint = rng.uniform(2, 8), rng.uniform(0.6, 1.6), _paint(rng)
    parts = [(*_box((width, 0.07, 0.04), (0.0, level, 0.0)), paint) for level in (height, height * 0.5)]
    for x in np.linspace(-width / 2, width / 2, int(width / rng.uniform(0.12, 1.0)) + 2):
        parts.append((*_box((0.06, height, 0.05), (float(x), height / 2, 0.0)), paint))
    return parts, width / 2


_INDOOR = (_crate, _cupboard, _table, _table, _cupboard, _pole)
_OUTDOOR = (_crate, _pole, _bush, _bush, _tree, _rock, _car, _fence)


def _paint(rng: np.random.Generator) -> Material:
    return Material(
        random_colour(rng, vivid=0.18),
        random_colour(rng, vivid=0.18),
        pattern=int(rng.choice(5, p=(0.7, 0.1, 0.06, 0.02, 0.12))),
        frequency=rng.uniform(2, 20),
        grain=rng.uniform(0.03, 0.35),
        grain_frequency=rng.uniform(15, 150),
        specular=rng.uniform(0, 0.4),
    )


def _leaves(rng: np.random.Generator) -> Material:
    base = np.array((rng.uniform(0.02, 0.12), rng.uniform(0.06, 0.2), rng.uniform(0.01, 0.05)))
    dark = tuple((base * 0.35).tolist())
    return Material(tuple(base.tolist()), dark, pattern=4, frequency=30, grain=0.6, grain_frequency=70, bump=0.7)


def _box(
    size: tuple[float, float, float] | NDArray[np.floating], centre: tuple[float, float, float]
) -> tuple[FloatArray, IntArray]:
    """Every side with vertices of its own, for flat shading."""
    corners: list[NDArray[np.float64]] = []
    faces: list[tuple[int, int, int]] = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for sign in (-1, 1):
            start = len(corners)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                corner = np.zeros(3)
                corner[axis], corner[u], corner[v] = sign, a * sign, b
                corners.append(corner)
            faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    vertices = np.array(corners) * np.asarray(size) / 2 + np.asarray(centre)
    return vertices.astype(np.float32), np.array(faces, dtype=np.int32)


def _cylinder(radius: float, height: float, sides: int = 14) -> tuple[FloatArray, IntArray]:
    turn = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([radius * np.cos(turn), np.zeros(sides), radius * np.sin(turn)], axis=1)
    top = ring + np.array([0, height, 0])
    here = np.arange(sides)
    after = (here + 1) % sides
    walls = np.concatenate(
        [np.stack([here, here + sides, after], 1), np.stack([after, here + sides, after + sides], 1)]
    )
    lid = np.stack([np.full(sides - 2, sides), after[1:-1] + sides, here[1:-1] + sides], 1)
    return np.concatenate([ring, top]).astype(np.float32), np.concatenate([walls, lid]).astype(np.int32)


def _blob(rng: np.random.Generator, size: float) -> tuple[FloatArray, IntArray]:
    directions, faces = _sphere()
    places = (directions * rng.uniform(6, 14) + rng.uniform(0, VOLUME, 3)).astype(int) % VOLUME
    bumps = noise_volume()[places[:, 0], places[:, 1], places[:, 2]]
    return (directions * (size * np.clip(1 + 0.22 * bumps, 0.5, 1.6))[:, None]).astype(np.float32), faces


@cache
def _sphere() -> tuple[FloatArray, IntArray]:
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=3)
    return np.asarray(sphere.vertices, dtype=np.float32), np.asarray(sphere.faces, dtype=np.int32)
