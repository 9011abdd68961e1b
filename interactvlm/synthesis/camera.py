"""Where the photographer stands: cameras as people hold them, chosen so that the person is in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.anny import load_anny
from interactvlm.body.parts import PART_NAMES
from interactvlm.geometry.cameras import PixelCameras
from interactvlm.synthesis.scene import Scene

__all__ = ["SHORT_SIDE", "Shot", "in_frame", "sample_shots"]

#: Shorter side of a picture, pixels.
SHORT_SIDE = 448
#: Width over height, and how often.
_SHAPES = ((1.0, 0.2), (4 / 3, 0.3), (3 / 2, 0.2), (3 / 4, 0.2), (2 / 3, 0.1))
#: Least share of the person's vertices inside the frame.
_LEAST_IN_FRAME = 0.55


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One photograph's geometry.

    Attributes:
        size: (height, width), pixels.
        focal: pixels.
        position: float64 [3], the camera in the world, metres.
        rotation: float64 [3, 3], for row vectors as in `Cameras` (columns: left, up, away).
        fov: degrees over the shorter side.
    """

    size: tuple[int, int]
    focal: float
    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    fov: float

    def cameras(self, *, scale: float = 1.0) -> PixelCameras:
        """As one camera of the rasteriser, for an image `scale` times as large."""
        height, width = self.size
        return PixelCameras(
            R=self.rotation[None].astype(np.float32),
            T=(-self.position @ self.rotation)[None].astype(np.float32),
            znear=0.1,
            focal=np.full((1, 2), self.focal * scale, dtype=np.float32),
            principal=np.array([[width / 2 * scale, height / 2 * scale]], dtype=np.float32),
        )

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels and depth (x, y, z) of world points [N, 3]; x and y mean nothing where z <= 0."""
        view = (points.astype(np.float64) - self.position) @ self.rotation
        depth = np.where(np.abs(view[:, 2]) < 1e-6, 1e-6, view[:, 2])
        height, width = self.size
        x, y = width / 2 - self.focal * view[:, 0] / depth, height / 2 - self.focal * view[:, 1] / depth
        return np.stack([x, y, view[:, 2]], axis=1)


def in_frame(shot: Shot, points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which world points [N, 3] fall inside the picture, in front of the camera."""
    x, y, z = shot.project(points).T
    height, width = shot.size
    return np.asarray((z > 0.1) & (x >= 0) & (x < width) & (y >= 0) & (y < height))


def sample_shots(rng: np.random.Generator, scene: Scene, *, count: int = 8) -> list[Shot]:
    """Draw candidate photographs of the scene's main person, the better framed ones first in the order drawn.

    The share of the frame's height that the person fills is drawn from 0.3 to 1.3: feet or head may be cut off.
    """
    body = scene.people[0].vertices
    props = [placed.world_vertices() for index, placed in enumerate(scene.objects) if index in scene.body_contacts]
    obstacles = np.concatenate([body, *(placed.world_vertices() for placed in scene.objects)])
    kept: list[Shot] = []
    rest: list[Shot] = []
    for _ in range(count):
        shot = _draw(rng, body, props)
        seen = float(in_frame(shot, body).mean())
        near = float(np.linalg.norm(obstacles - shot.position, axis=1).min())
        fine = seen >= _LEAST_IN_FRAME and near > 0.35 and shot.position[1] > 0.05
        (kept if fine else rest).append(shot)
    return kept or rest


def _draw(rng: np.random.Generator, body: NDArray[np.float32], props: list[NDArray[np.float32]]) -> Shot:
    shape = float(rng.choice([s for s, _ in _SHAPES], p=[p for _, p in _SHAPES]))
    short = SHORT_SIDE
    size = (short, round(short * shape)) if shape >= 1 else (round(short / shape), short)
    fov = rng.uniform(25, 75)
    focal = short / 2 / np.tan(np.radians(fov) / 2)

    low, high = body.min(axis=0), body.max(axis=0)
    extent = float(np.linalg.norm((high - low) * (0.6, 1.0, 0.6)))
    fill = rng.uniform(0.33, 1.0) if rng.random() < 0.75 else rng.uniform(1.0, 1.3)
    if max(size) == size[1] and extent > 1.3 * (high[1] - low[1]):  # lying: the width matters
        fill *= 1.2
    distance = max(focal * extent / (fill * size[0]), 0.7)
    flat = float(high[1] - low[1]) < 0.9  # lying or crouching: seen from further above
    elevation = np.radians(rng.uniform(5, 60) if flat else np.clip(rng.normal(8, 12), -12, 55))
    azimuth = _facing(body) + np.radians(rng.normal(0, 45)) if rng.random() < 0.62 else rng.uniform(-np.pi, np.pi)

    target = (low + high) / 2 * 0.8 + body.mean(axis=0) * 0.2
    if props and rng.random() < 0.5:  # what is held stays in the picture
        prop = props[int(rng.integers(len(props)))]
        share = rng.uniform(0, 0.5)
        target = target * (1 - share) + np.clip((prop.min(axis=0) + prop.max(axis=0)) / 2, low, high) * share
    away = np.array([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    position = target + distance * away
    position[1] = max(position[1], rng.uniform(0.15, 0.6))

    # The person stands off the centre by up to a quarter of the room that is left.
    forward = target - position
    forward /= np.linalg.norm(forward)
    left = np.cross([0.0, 1.0, 0.0], forward)
    left /= np.linalg.norm(left)
    up = np.cross(forward, left)
    room = np.array([size[1], size[0]]) - focal * extent / distance * np.array([0.6, 1.0])
    shift = rng.uniform(-0.4, 0.4, 2) * np.maximum(room, 0.12 * np.array([size[1], size[0]])) * distance / focal
    look = target + shift[0] * left + shift[1] * up - position
    forward = look / np.linalg.norm(look)
    left = np.cross([0.0, 1.0, 0.0], forward)
    left /= np.linalg.norm(left)
    up = np.cross(forward, left)
    roll = np.radians(np.clip(rng.normal(0, 2.5), -10, 10))
    left, up = np.cos(roll) * left + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * left
    return Shot(size, float(focal), position, np.stack([left, up, forward], axis=1), float(fov))


def _facing(body: NDArray[np.float32]) -> float:
    """Azimuth (from +z towards +x) of the way the hips face, radians."""
    parts = load_anny().template.part_index
    left, right = (body[parts == PART_NAMES.index(f"{side} thigh")].mean(axis=0) for side in ("left", "right"))
    across = left - right
    return float(np.arctan2(-across[2], across[0]))
