"""Where a scene takes place: a room with walls, or a place under the sky with something on the horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.synthesis import textures
from interactvlm.synthesis.camera import Shot
from interactvlm.synthesis.clutter import Piece, sample_clutter
from interactvlm.synthesis.scene import Scene

__all__ = ["Background", "Setting", "sample_background", "sample_setting"]

#: What the things in a scene say about the place: category -> (indoor probability, floors).
_PLACES: dict[str, tuple[float, tuple[str, ...]]] = {
    **dict.fromkeys(("skis", "ski pole", "ski poles", "snowboard", "sled"), (0.0, ("snow",))),
    "surfboard": (0.02, ("sand", "water", "water", "sand")),
    "boat": (0.0, ("water",)),
    "tennis racket": (0.05, ("court", "court", "grass", "dirt")),
    "baseball bat": (0.02, ("dirt", "grass", "dirt")),
    "baseball glove": (0.02, ("dirt", "grass")),
    "skateboard": (0.1, ("asphalt", "paving", "concrete")),
    "frisbee": (0.03, ("grass", "grass", "sand")),
    "kite": (0.0, ("grass", "sand")),
    "sports ball": (0.2, ("grass", "court", "dirt", "sand")),
    "bicycle": (0.05, ("asphalt", "paving", "dirt", "grass")),
    "motorcycle": (0.05, ("asphalt", "paving", "dirt")),
    "umbrella": (0.15, ("asphalt", "paving", "sand", "grass")),
    "bench": (0.1, ("paving", "grass", "asphalt")),
    "suitcase": (0.4, ("paving", "asphalt")),
}  # fmt: skip
_INDOOR = 0.72
_ANYWHERE = ("grass", "grass", "asphalt", "paving", "sand", "dirt", "court", "snow")


@dataclass(frozen=True, slots=True)
class Setting:
    """What kind of place it is.

    Attributes:
        indoor: a room.
        floor: a name of `textures`.
        cold: people dress for snow.
    """

    indoor: bool
    floor: str
    cold: bool


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Everything behind and around the people and objects.

    Attributes:
        textures: float32 [3, S, S, 3]: floor, back wall, side walls; linear RGB.
        scales: float32 [3], metres that each square covers.
        walls: float32 [3, 4], planes (nx, nz, offset, 1 if there): n . (x, z) = offset, the scene on the smaller side.
        ceiling: its height in metres, infinite under the sky.
        backdrop: float32 [S, S, 3], see `textures.backdrop`.
        turn: radians by which the backdrop is turned.
        haze: float32 [4], linear RGB of far air and its strength per metre.
        clutter: further surfaces.
    """

    textures: NDArray[np.float32]
    scales: NDArray[np.float32]
    walls: NDArray[np.float32]
    ceiling: float
    backdrop: NDArray[np.float32]
    turn: float
    haze: NDArray[np.float32]
    clutter: list[Piece]


def sample_setting(rng: np.random.Generator, scene: Scene) -> Setting:
    """The kind of place, mostly one where such things are used."""
    chances = [_PLACES[placed.category] for placed in scene.objects if placed.category in _PLACES]
    indoor_chance, floors = chances[0] if chances else (_INDOOR, _ANYWHERE)
    indoor = rng.random() < indoor_chance
    floor = str(rng.choice(tuple(textures.GROUNDS_INDOOR))) if indoor else str(rng.choice(floors))
    return Setting(indoor=indoor, floor=floor, cold=floor == "snow" and not indoor)


def sample_background(rng: np.random.Generator, scene: Scene, shot: Shot, setting: Setting) -> Background:
    """Draw the place around a scene as this shot sees it."""
    points = np.concatenate([person.vertices for person in scene.people] + [o.world_vertices() for o in scene.objects])
    forward = shot.rotation[:, 2]
    walls = np.zeros((3, 4), dtype=np.float32)
    ceiling = np.inf
    if setting.indoor or rng.random() < 0.25:
        turn = np.arctan2(forward[0], forward[2]) + np.radians(rng.normal(0, 22))
        margin = rng.exponential(0.9 if setting.indoor else 2.5) + 0.05
        walls[0] = _plane(points, turn, margin)
    if setting.indoor:  # a room around the scene and the camera
        inside = np.concatenate([points, shot.position[None].astype(np.float32)])
        for place, corner in ((1, turn + np.pi / 2), (2, turn - np.pi / 2)):
            walls[place] = _plane(inside, corner, rng.exponential(1.2) + 0.2)
        ceiling = max(float(inside[:, 1].max()) + 0.3, rng.uniform(2.3, 3.6))
    empty = np.zeros((textures.SIDE, textures.SIDE, 3), dtype=np.float32)
    squares = np.stack(
        [
            textures.ground(rng, setting.floor),
            textures.wall(rng, indoor=setting.indoor) if walls[0, 3] else empty,
            textures.wall(rng, indoor=True) if walls[1, 3] else empty,
        ]
    )
    backdrop = empty if setting.indoor else textures.backdrop(rng, snow=setting.cold)
    fog = rng.uniform(0.0, 0.012) if not setting.indoor else 0.0
    return Background(
        textures=squares,
        scales=np.array([rng.uniform(2.5, 6), *rng.uniform(3.5, 6, 2)], dtype=np.float32),
        walls=walls,
        ceiling=float(ceiling),
        backdrop=backdrop,
        turn=float(rng.uniform(0, np.pi)),
        haze=np.array([*backdrop[360:402].mean(axis=(0, 1)), fog], dtype=np.float32),
        clutter=_clear(
            sample_clutter(rng, taken=points, camera=shot.position, forward=forward, indoor=setting.indoor), walls
        ),
    )


def _plane(points: NDArray[np.floating], turn: float, margin: float) -> NDArray[np.float32]:
    """A wall behind all points (as seen along `turn`), at least `margin` metres off."""
    normal = np.array([np.sin(turn), np.cos(turn)])
    offset = float((points[:, [0, 2]] @ normal).max()) + margin
    return np.array([*normal, offset, 1.0], dtype=np.float32)


def _clear(things: list[list[Piece]], walls: NDArray[np.float32]) -> list[Piece]:
    """All surfaces, without the things that would stick out behind a wall."""
    kept: list[Piece] = []
    for pieces in things:
        floor = np.concatenate([piece.vertices[:, [0, 2]] for piece in pieces])
        if all(present == 0 or float((floor @ np.array([nx, nz])).max()) < offset for nx, nz, offset, present in walls):
            kept += pieces
    return kept
