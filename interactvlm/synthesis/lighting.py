"""Light: a sun or a lamp that casts shadows, a fill without any, and the sky's and floor's glow. Linear RGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lighting", "sample_lighting"]


@dataclass(frozen=True, slots=True, eq=False)
class Lighting:
    """The light of one scene.

    Attributes:
        key: float32 [3], unit, towards the light that casts shadows.
        key_colour: float32 [3].
        fill: float32 [3], unit, towards the light that casts none.
        fill_colour: float32 [3].
        above: float32 [3], light from above on a level surface.
        below: float32 [3], light thrown up by the floor.
        softness: metres over which the key's shadows blur.
    """

    key: NDArray[np.float32]
    key_colour: NDArray[np.float32]
    fill: NDArray[np.float32]
    fill_colour: NDArray[np.float32]
    above: NDArray[np.float32]
    below: NDArray[np.float32]
    softness: float


def sample_lighting(rng: np.random.Generator, *, indoor: bool, view: NDArray[np.float64]) -> Lighting:
    """Draw the light.

    Args:
        rng: the scene's stream of light.
        indoor: lamps and windows instead of sun and sky.
        view: float64 [3], the direction in which the camera looks; flash comes from there.
    """
    if indoor:
        flash = rng.random() < 0.15
        key = -view + rng.normal(0, 0.12, 3) if flash else _direction(rng, (15, 85))
        warmth = rng.uniform(-0.15, 0.35)
        strength, ambient, softness = rng.uniform(0.3, 1.3), rng.uniform(0.35, 0.9), rng.uniform(0.03, 0.15)
    elif rng.random() < 0.6:  # sun
        key = _direction(rng, (12, 75))
        warmth = rng.uniform(0.0, 0.3)
        strength, ambient, softness = rng.uniform(1.2, 2.4), rng.uniform(0.25, 0.6), rng.uniform(0.005, 0.03)
    else:  # overcast
        key = _direction(rng, (50, 90))
        warmth = rng.uniform(-0.12, 0.08)
        strength, ambient, softness = rng.uniform(0.1, 0.4), rng.uniform(0.7, 1.1), rng.uniform(0.15, 0.3)
    sky = rng.uniform(0.0, 0.2) if not indoor else -warmth * 0.6
    tone = _tone(warmth)
    return Lighting(
        key=_unit(key),
        key_colour=(strength * tone).astype(np.float32),
        fill=_unit(_direction(rng, (-10, 60))),
        fill_colour=(rng.uniform(0.0, 0.45) * ambient * _tone(rng.uniform(-0.2, 0.3))).astype(np.float32),
        above=(ambient * _tone(-sky)).astype(np.float32),
        below=(ambient * rng.uniform(0.25, 0.7) * _tone(warmth * 0.5)).astype(np.float32),
        softness=softness,
    )


def _tone(warmth: float) -> NDArray[np.float64]:
    """White, reddish for positive and bluish for negative warmth."""
    return np.array([1 + warmth * 0.8, 1.0, 1 - warmth])


def _direction(rng: np.random.Generator, elevation: tuple[float, float]) -> NDArray[np.float64]:
    up, around = np.radians(rng.uniform(*elevation)), rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(up) * np.sin(around), np.sin(up), np.cos(up) * np.cos(around)])


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
