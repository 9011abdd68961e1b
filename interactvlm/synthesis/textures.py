"""Painted squares for floors, walls and what is far behind: float32 [S, S, 3], linear RGB, tiling where they must."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.synthesis.materials import linear, random_colour
from interactvlm.synthesis.noise import crop

__all__ = ["GROUNDS_INDOOR", "GROUNDS_OUTDOOR", "SIDE", "backdrop", "ground", "wall"]

FloatArray = NDArray[np.float32]

#: Texels along a side.
SIDE = 512

#: name -> (sRGB low, sRGB high, contrast of the noise, grain's zoom)
GROUNDS_OUTDOOR = {
    "grass": ((50, 80, 20), (130, 150, 70), 0.35, 8),
    "snow": ((215, 220, 230), (250, 250, 255), 0.05, 3),
    "sand": ((180, 150, 110), (235, 215, 180), 0.1, 4),
    "dirt": ((110, 85, 60), (190, 160, 125), 0.22, 4),
    "asphalt": ((60, 60, 62), (140, 140, 140), 0.15, 8),
    "paving": ((120, 115, 105), (200, 195, 185), 0.12, 4),
    "water": ((30, 60, 80), (110, 150, 160), 0.3, 2),
    "court": ((40, 70, 60), (190, 110, 90), 0.05, 6),
}
GROUNDS_INDOOR = {
    "wood": ((70, 45, 25), (205, 165, 120), 0.12, 2),
    "tiles": ((120, 115, 110), (235, 230, 225), 0.06, 3),
    "carpet": ((60, 50, 50), (200, 190, 180), 0.2, 8),
    "concrete": ((110, 108, 105), (190, 188, 184), 0.12, 2),
    "rug": ((90, 30, 30), (210, 180, 140), 0.15, 6),
}

#: sRGB overhead: blue, pale, grey, evening.
_SKIES = ((95, 150, 215), (200, 215, 230), (170, 175, 180), (215, 170, 140))


def ground(rng: np.random.Generator, kind: str) -> FloatArray:
    """A floor's square (tiles about every 4 m)."""
    low, high, contrast, zoom = (GROUNDS_INDOOR | GROUNDS_OUTDOOR)[kind]
    share = rng.random(3) * 0.12 + rng.random() * 0.88
    base = _srgb(np.array(low) * (1 - share) + np.array(high) * share)
    tone = contrast * (0.6 * _grain(rng, 1) + 0.8 * _grain(rng, zoom))
    picture: FloatArray = (base * (1 + np.clip(tone, -0.8, 1.5))[..., None]).astype(np.float32)
    if kind == "wood":
        _boards(rng, picture)
    elif kind in ("tiles", "paving"):
        _joints(rng, picture, int(rng.choice((8, 16, 32))))
    elif kind in ("asphalt", "court", "concrete") and rng.random() < 0.5:
        _lines(rng, picture)
    elif kind in ("grass", "dirt", "sand") and rng.random() < 0.6:  # worn patches
        other = _srgb((150, 130, 95))
        mask = np.clip(_grain(rng, 1, slope=1.6) * 1.5 - 0.8, 0, 1)[..., None]
        picture += (other * (1 + 0.5 * tone[..., None]) - picture) * mask
    elif kind == "rug" or (kind == "carpet" and rng.random() < 0.2):
        _rectangles(rng, picture, int(rng.integers(4, 20)), (0.05, 0.5))
    return np.asarray(np.maximum(picture, 0.002), dtype=np.float32)


def wall(rng: np.random.Generator, *, indoor: bool) -> FloatArray:
    """A wall's square, about 5 m wide and high; row 0 is the top."""
    colour = _colour(rng, vivid=0.06, bright=(0.4, 0.97))
    plain = rng.uniform(0.3, 1.0)  # most walls are nearly white, grey or beige
    colour = colour * np.float32(1 - plain) + _srgb((235, 228, 216)) * np.float32(plain * rng.uniform(0.4, 1.0))
    picture = (
        colour * (1 + np.clip(rng.uniform(0.02, 0.15) * _grain(rng, int(rng.choice((1, 2, 4)))), -0.6, 0.6))[..., None]
    )
    kind = rng.random()
    if kind < (0.12 if indoor else 0.45):
        _bricks(rng, picture)
    elif kind < 0.3:
        _boards(rng, picture)
    elif kind < 0.42:
        _joints(rng, picture, int(rng.choice((16, 32, 64))))
    elif kind < 0.46:
        stripe = _colour(rng, vivid=0.2, bright=(0.3, 0.9))
        picture[:, (np.arange(SIDE) * int(rng.integers(6, 30)) // SIDE) % 2 == 0] *= stripe / max(stripe.max(), 0.1)
    if rng.random() < 0.75:  # windows, doors, pictures, shelves, cupboards
        _rectangles(rng, picture, int(rng.integers(2, 14)), (0.06, 0.4), framed=True)
    if indoor and rng.random() < 0.5:
        shelf = int(rng.integers(150, 420))
        for start in range(int(rng.integers(0, 200)), int(rng.integers(250, SIDE)), int(rng.integers(6, 16))):
            height = int(rng.integers(15, 45))
            picture[shelf - height : shelf, start : start + int(rng.integers(4, 14))] = random_colour(rng)
        picture[shelf : shelf + 6] *= rng.uniform(0.3, 0.8)
    if rng.random() < 0.6:
        picture[-int(rng.integers(8, 20)) :] *= rng.uniform(0.2, 1.4)  # skirting
    return np.asarray(np.clip(picture, 0.002, 1.0), dtype=np.float32)


def backdrop(rng: np.random.Generator, *, snow: bool) -> FloatArray:
    """What stands behind an open place: sky, hills, trees, buildings. Row 0 is 45 degrees up, the last row 12 below.

    Columns cover 180 degrees and tile.
    """
    rows = np.linspace(45, -12, SIDE, dtype=np.float32)[:, None]  # degrees
    sky = _srgb(_SKIES[int(rng.choice(len(_SKIES), p=(0.4, 0.25, 0.25, 0.1)))])
    haze = sky * 0.4 + 0.55 * rng.uniform(0.7, 1.1)
    share = np.clip(rows / rng.uniform(15, 60), 0, 1)[..., None]
    picture = np.broadcast_to(haze * (1 - share) + sky * share, (SIDE, SIDE, 3)).copy()
    if rng.random() < 0.6:
        clouds = np.clip(_grain(rng, 1, slope=1.4) * rng.uniform(0.2, 0.8) + rng.uniform(-0.5, 0.4), 0, 1)[..., None]
        picture = picture * (1 - clouds) + rng.uniform(0.75, 1.0) * clouds
    height = rng.uniform(1, 9)
    for layer in range(int(rng.integers(1, 4))):
        near = (layer + 1) / 3
        fog = rng.uniform(0.2, 0.7) * (1 - near)
        kind = rng.choice(("hill", "trees", "buildings", "trees"))
        line = height * rng.uniform(0.5, 1.5) * _skyline(rng, str(kind))
        inside = rows < line[None]
        if kind == "buildings":
            colour = _facades(rng)
        elif kind == "hill":
            colour = (_srgb((225, 229, 238)) if snow else _colour(rng, vivid=0.1, bright=(0.2, 0.6))) * (
                1 + 0.15 * _grain(rng, 2)[..., None]
            )
        else:
            leaf = _srgb((rng.uniform(30, 90), rng.uniform(60, 110), rng.uniform(20, 60)))
            colour = leaf * np.clip(1 + 0.75 * _grain(rng, 6, slope=0.8), 0.15, 3)[..., None]
        colour = colour * (1 - fog) + haze * fog
        np.copyto(picture, colour, where=inside[..., None])
        height *= rng.uniform(0.4, 0.9)
    if rng.random() < 0.35:  # a fence, a rail, a hoarding
        base, top = rng.uniform(-2, 0), rng.uniform(1, 5)
        rail = ((rows < top) & (rows > (base if rng.random() < 0.3 else top - 0.6)))[:, 0]
        picture[rail] = picture[rail] * 0.15 + 0.85 * _colour(rng)
        posts = np.arange(SIDE) % int(rng.integers(12, 60)) < 2
        picture[np.ix_(((rows < top) & (rows > base))[:, 0], posts)] = random_colour(rng, vivid=0.1)
    return np.asarray(np.clip(picture, 0.002, 1.2), dtype=np.float32)


def _colour(rng: np.random.Generator, **limits: Any) -> FloatArray:
    return np.array(random_colour(rng, **limits), dtype=np.float32)


def _srgb(colour: Any) -> FloatArray:
    return linear(np.asarray(colour, dtype=np.float32) / np.float32(255))


def _grain(rng: np.random.Generator, zoom: int, *, slope: float = 1.0) -> FloatArray:
    return crop(rng, (SIDE, SIDE), slope=slope, zoom=zoom)


def _boards(rng: np.random.Generator, picture: FloatArray) -> None:
    count = int(rng.choice((16, 32, 64)))
    board = np.arange(SIDE) * count // SIDE
    tones = rng.normal(1, 0.08, count).astype(np.float32)[board]
    streaks = 1 + 0.1 * crop(rng, (SIDE, SIDE), zoom=1)[:1].T * np.ones((1, 1), np.float32)
    picture *= (tones[None] * streaks)[..., None]
    picture[:, np.diff(board, prepend=board[-1]) != 0] *= 0.55


def _joints(rng: np.random.Generator, picture: FloatArray, count: int) -> None:
    step = SIDE // count
    tones = rng.normal(1, 0.06, (count, count)).astype(np.float32)
    picture *= np.kron(tones, np.ones((step, step), np.float32))[..., None]
    if rng.random() < 0.3:  # chequered
        picture[(np.add.outer(np.arange(SIDE) // step, np.arange(SIDE) // step) % 2).astype(bool)] *= rng.uniform(
            0.25, 0.8
        )
    dark = rng.uniform(0.4, 1.3)
    picture[::step] *= dark
    picture[:, ::step] *= dark


def _bricks(rng: np.random.Generator, picture: FloatArray) -> None:
    rows, columns = 64, 24
    row = np.arange(SIDE) * rows // SIDE
    shifted = (np.arange(SIDE)[None] * columns / SIDE + 0.5 * (row[:, None] % 2)).astype(int) % columns
    picture *= rng.normal(1, 0.13, (rows, columns)).astype(np.float32)[row[:, None], shifted][..., None]
    joint = (np.diff(row, prepend=-1) != 0)[:, None] | (np.diff(shifted, axis=1, prepend=-1) != 0)
    picture[joint] = rng.uniform(0.3, 0.7)


def _lines(rng: np.random.Generator, picture: FloatArray) -> None:
    for _ in range(int(rng.integers(1, 4))):
        place, width = int(rng.integers(SIDE - 12)), int(rng.integers(3, 12))
        band = picture[place : place + width] if rng.random() < 0.5 else picture[:, place : place + width]
        band[:] = band * 0.2 + 0.75 * _colour(rng, vivid=0.2, bright=(0.6, 1.0))


def _rectangles(
    rng: np.random.Generator, picture: FloatArray, count: int, extent: tuple[float, float], *, framed: bool = False
) -> None:
    for _ in range(count):
        height, width = (rng.uniform(*extent, 2) * SIDE).astype(int)
        top, left = int(rng.integers(SIDE - height)), int(rng.integers(SIDE - width))
        area = picture[top : top + height, left : left + width]
        tone = 1 + rng.uniform(0.02, 0.3) * crop(rng, area.shape[:2], slope=1.4, zoom=int(rng.integers(1, 4)))
        area[:] = _colour(rng, vivid=0.18) * np.clip(tone, 0.2, 2)[..., None]
        if framed:
            edge, frame = int(rng.integers(1, 6)), random_colour(rng, vivid=0.1)
            area[:edge], area[-edge:], area[:, :edge], area[:, -edge:] = frame, frame, frame, frame
            if rng.random() < 0.4:
                area[:, width // 2 : width // 2 + edge] = frame
                area[height // 2 : height // 2 + edge] = frame


def _skyline(rng: np.random.Generator, kind: str) -> FloatArray:
    if kind == "buildings":
        edges = np.sort(rng.integers(0, SIDE, int(rng.integers(5, 30))))
        levels = rng.uniform(0.2, 2.0, len(edges) + 1).astype(np.float32)
        return np.asarray(levels[np.searchsorted(edges, np.arange(SIDE), side="right")])
    slope, zoom = (1.6, 1) if kind == "hill" else (1.0, 2)
    return np.asarray(np.clip(1 + 0.5 * crop(rng, (1, SIDE), slope=slope, zoom=zoom)[0], 0.05, 4))


def _facades(rng: np.random.Generator) -> FloatArray:
    picture = _colour(rng, vivid=0.15, bright=(0.3, 0.9)) * (1 + 0.15 * _grain(rng, 2))[..., None]
    high, wide = int(rng.integers(8, 24)), int(rng.integers(6, 20))
    rows, columns = np.arange(SIDE) % high, np.arange(SIDE) % wide
    windows = (rows > high * 0.4)[:, None] & (columns > wide * 0.35)[None]
    picture[windows] *= rng.uniform(0.1, 0.6)
    blocks = np.repeat(rng.normal(1, 0.2, SIDE // 32), 32).astype(np.float32)
    return np.asarray(picture * np.clip(blocks, 0.3, 2)[None, :, None])
