"""Who the people are to the eye: skin, hair, clothes, shoes; and what things are made of."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from interactvlm.body.anny import load_anny
from interactvlm.synthesis.garments import (
    ANKLE,
    BEARD,
    CUFF,
    HATLINE,
    HEM,
    NAPE,
    OUTFIT,
    SLEEVE,
    WAIST,
    along_leg,
)
from interactvlm.synthesis.materials import (
    CHECKS,
    DOTS,
    PATCHES,
    PLAIN,
    STRIPES,
    Colour,
    Material,
    linear,
    random_colour,
)
from interactvlm.synthesis.noise import VOLUME, noise_volume

__all__ = ["Outfit", "dress", "sample_outfit", "sample_surface"]

FloatArray = NDArray[np.float32]

#: sRGB of skin from light to dark, and of hair.
_SKIN = (
    (246, 220, 200),
    (238, 200, 172),
    (224, 178, 146),
    (204, 152, 118),
    (172, 120, 86),
    (138, 92, 64),
    (104, 68, 48),
    (72, 48, 36),
)
_HAIR = (
    (18, 15, 14),
    (38, 27, 20),
    (70, 46, 30),
    (110, 74, 44),
    (168, 128, 78),
    (206, 176, 126),
    (120, 50, 28),
    (140, 138, 136),
    (210, 208, 204),
)
_NEVER = 9.0


@dataclass(frozen=True, slots=True, eq=False)
class Outfit:
    """One person's looks.

    Attributes:
        cut: float32 [len(OUTFIT)].
        materials: one a slot, in the order of SLOTS.
        loose: metres that the top and the bottom stand off the skin.
        hair: metres that hair stands off the head.
    """

    cut: FloatArray
    materials: list[Material]
    loose: tuple[float, float]
    hair: float


def sample_outfit(rng: np.random.Generator, *, indoor: bool, cold: bool, props: AbstractSet[str]) -> Outfit:
    """Draw one person's looks.

    Args:
        rng: the person's stream.
        indoor: whether hats and dark glasses are rare.
        cold: whether sleeves are long and gloves likely (snow).
        props: categories of the scene's objects, which clothes must not cover or repeat.
    """
    cut = dict.fromkeys(OUTFIT, 0.0)
    cut["waist"] = rng.uniform(-0.26, -0.08)
    sleeve = rng.choice(3, p=(0.02, 0.08, 0.9) if cold else (0.12, 0.43, 0.45))
    cut["sleeve"] = (rng.uniform(0.13, 0.2), rng.uniform(0.28, 0.44), rng.uniform(0.6, 0.71))[sleeve]
    cut["collar"] = rng.uniform(0.315, 0.36) if cold or rng.random() < 0.25 else rng.uniform(0.28, 0.305)
    cut["plunge"] = 0.0 if cut["collar"] > 0.31 else rng.choice((0.01, 0.03, 0.06, 0.12))
    long = cold or rng.random() < 0.68
    cut["hem"] = rng.uniform(0.74, 0.86) if long else rng.uniform(0.08, 0.45)
    cut["sock"] = rng.uniform(0.45, 0.8) if rng.random() < 0.5 else _NEVER
    cut["cuff"] = rng.uniform(0.66, 0.74) if rng.random() < (0.85 if cold else 0.06) else _NEVER
    hat = rng.random() < (0.8 if cold else 0.08 if indoor else 0.35)
    cut["hat"] = rng.uniform(0.475, 0.5) if hat else _NEVER
    cut["hairline"] = rng.normal(0.0, 0.006) + (0.06 if rng.random() < 0.06 else 0.0)  # at times bald
    long_hair = rng.random() < 0.4
    cut["nape"] = rng.uniform(0.27, 0.34) if long_hair else rng.uniform(0.37, 0.42)
    cut["ankle"] = -2.0 if not cold and rng.random() < (0.15 if indoor else 0.08) else rng.uniform(-1.0, -0.93)
    cut["belt"] = rng.choice((0.0, 0.0, 0.03))
    cut["print"] = rng.choice((0.0, 0.0, 0.05, 0.08, 0.11))
    cut["glasses"] = float(rng.random() < (0.05 if indoor else 0.25))
    cut["beard"] = float(rng.random() < 0.15 and not long_hair)
    if not cold and rng.random() < 0.03:  # bare to the waist
        cut["waist"], cut["sleeve"], cut["collar"], cut["print"] = 0.6, 0.0, 0.0, 0.0
        cut["belt"] = 0.0
        cut["plunge"] = 0.0
    if props & {"hat", "eye glasses", "headphones"}:
        cut["hat"], cut["glasses"] = _NEVER, 0.0
    if "shoe" in props:
        cut["ankle"] = -2.0
    loose = (rng.uniform(0.004, 0.03 if cold else 0.018), rng.uniform(0.003, 0.022 if long else 0.014))
    return Outfit(
        cut=np.array([cut[name] for name in OUTFIT], dtype=np.float32),
        materials=_wardrobe(rng),
        loose=loose,
        hair=rng.uniform(0.012, 0.03) if long_hair else rng.uniform(0.003, 0.02),
    )


def dress(vertices: FloatArray, normals: FloatArray, outfit: Outfit, rng: np.random.Generator) -> FloatArray:
    """The posed body in its clothes: feet in shoes lose their toes, cloth and hair stand off, with folds.

    Args:
        vertices: float32 [V, 3] of the contact template, posed, in the world.
        normals: float32 [V, 3].
        outfit: what is worn.
        rng: of the folds.

    Returns:
        float32 [V, 3]; contact is labelled on the bare body, so nothing is moved by more than a few centimetres.
    """
    star, part, smooth = _star()
    cut = outfit.cut
    x, y, z = star.T
    side = np.abs(x)
    down = along_leg(side, y)
    shoe = ((part == 5) | (part == 6)) & (cut[ANKLE] > -1.5)
    glove = (side > cut[CUFF]) & (part >= 3) & (part <= 10)
    legs = (part >= 11) & (down < cut[HEM]) | (part == 1) & (y < cut[WAIST])
    top = (
        (part == 0) & (y > cut[WAIST])
        | (part == 1) & (y >= cut[WAIST])
        | (part >= 7) & (part <= 10) & (side < cut[SLEEVE])
    )
    scalp = (part == 2) & (y > cut[NAPE] + (0.505 - cut[NAPE]) * np.clip(z / 0.085, 0, 1))
    hat = (part == 2) & (y > cut[HATLINE])

    smoothed = vertices
    for _ in range(6):
        smoothed = smooth @ smoothed
    blend = np.where(shoe, 0.9, np.where(glove, 0.35, np.where(top | legs, 0.6, 0.0)))[:, None].astype(np.float32)
    folds = 0.6 + 0.4 * _folds(star, rng)
    tight = np.clip((cut[SLEEVE] - side) / 0.05, 0.2, 1)  # cuffs lie close
    offset = np.zeros(len(star), dtype=np.float32)
    offset += np.where(top, outfit.loose[0] * folds * np.where(part >= 7, tight, 1.0), 0)
    offset += np.where(legs, outfit.loose[1] * folds * np.clip((cut[HEM] - down) / 0.05 + 0.4, 0, 1), 0)
    # Soles stay where they stand: cloth and leather grow sideways and upwards only.
    offset += np.where(shoe, 0.009 * np.clip(normals[:, 1] + 1.0, 0, 1), 0) + np.where(glove, 0.004, 0)
    rise = np.clip((y - cut[NAPE]) / 0.04, 0.3, 1)
    offset += np.where(scalp, outfit.hair * (0.8 + 0.4 * folds) * rise, 0) + np.where(hat & ~scalp, 0.01, 0)
    offset += np.where(hat, 0.008, 0)
    offset += np.where((part == 2) & (z > 0.06) & (y < 0.38) & (cut[BEARD] > 0), 0.006, 0)
    dressed = vertices * (1 - blend) + smoothed * blend + normals * offset[:, None].astype(np.float32)
    return np.asarray(dressed, dtype=np.float32)


def sample_surface(rng: np.random.Generator, *, coloured: bool) -> Material:
    """What an object is made of.

    Args:
        rng: the object's stream.
        coloured: whether its mesh has vertex colours, which then mostly show through.
    """
    share = float(rng.choice((1.0, 0.85, 0.0), p=(0.6, 0.25, 0.15))) if coloured else 0.0
    metal = rng.random() < 0.2
    return Material(
        colour=random_colour(rng, vivid=0.4),
        second=random_colour(rng, vivid=0.4),
        pattern=int(rng.choice((PLAIN, STRIPES, CHECKS, PATCHES), p=(0.78, 0.08, 0.05, 0.09))),
        frequency=rng.uniform(4, 30),
        axis=_axis(rng),
        grain=rng.uniform(0.02, 0.3),
        grain_frequency=np.exp(rng.uniform(np.log(20), np.log(400))),
        specular=rng.uniform(0.2, 0.9) if metal else rng.uniform(0.0, 0.25),
        gloss=rng.uniform(20, 120) if metal else rng.uniform(4, 60),
        bump=rng.uniform(0, 0.08),
        vertex_colours=share,
    )


def _wardrobe(rng: np.random.Generator) -> list[Material]:
    tone = rng.uniform(0, len(_SKIN) - 1)
    low, share = int(tone), tone - int(tone)
    srgb = np.array(_SKIN[low]) * (1 - share) + np.array(_SKIN[min(low + 1, len(_SKIN) - 1)]) * share
    skin = _colour(srgb * rng.normal(1, 0.03, 3) / 255)
    hair = _colour(np.array(_HAIR[int(rng.choice(9, p=(0.24, 0.2, 0.17, 0.12, 0.1, 0.05, 0.04, 0.05, 0.03)))]) / 255)
    if rng.random() < 0.02:
        hair = random_colour(rng, vivid=1.0)
    lips = (skin[0] * 0.85, skin[1] * 0.5, skin[2] * 0.5)
    sock = Material(random_colour(rng, vivid=0.15), random_colour(rng), int(rng.choice((PLAIN, PLAIN, STRIPES))), 40)
    prints = int(rng.choice((CHECKS, DOTS, PATCHES, STRIPES)))
    top, bottom = _cloth(rng, vivid=0.5), _cloth(rng, vivid=0.2)
    if rng.random() < 0.3:  # denim
        blue = _colour(np.array((0.22, 0.3, 0.45)) * rng.uniform(0.5, 1.6))
        bottom = replace(bottom, colour=blue, pattern=PLAIN, grain=0.2)
    if rng.random() < 0.12:  # overall, suit, tracksuit
        bottom = replace(top, pattern=PLAIN)
    flesh = Material(skin, grain=0.07, grain_frequency=50, specular=0.12, gloss=14, bump=0.02)
    shoe = Material(
        random_colour(rng, vivid=0.3), random_colour(rng), int(rng.choice((PLAIN, STRIPES))), 25, grain=0.15
    )
    sole = Material(shoe.colour if rng.random() < 0.4 else random_colour(rng, vivid=0.1), grain=0.1)
    glove = Material(random_colour(rng, vivid=0.25, bright=(0.05, 0.6)), grain=0.2)
    hat = Material(
        random_colour(rng),
        random_colour(rng),
        int(rng.choice((PLAIN, PLAIN, STRIPES))),
        30,
        grain=0.12,
        specular=rng.choice((0.02, 0.5)),
    )
    return [
        *(flesh, top, bottom, shoe, sole),
        Material(hair, grain=0.35, grain_frequency=160, specular=0.15, gloss=10, bump=0.25),
        *(glove, hat),
        Material((0.75, 0.73, 0.7), grain=0.0, specular=0.3),
        Material((0.03, 0.02, 0.015), grain=0.0, specular=0.3),
        Material(lips, grain=0.05, specular=0.15),
        sock,
        Material(random_colour(rng, vivid=0.1, bright=(0.02, 0.4)), grain=0.05, specular=0.3),
        Material(random_colour(rng), random_colour(rng), prints, rng.uniform(8, 25), _axis(rng)),
        Material((0.01, 0.01, 0.012), grain=0.0, specular=0.8, gloss=60),
    ]  # fmt: skip


def _cloth(rng: np.random.Generator, *, vivid: float) -> Material:
    pattern = int(rng.choice((PLAIN, STRIPES, CHECKS, DOTS, PATCHES), p=(0.6, 0.16, 0.1, 0.05, 0.09)))
    return Material(
        colour=random_colour(rng, vivid=vivid),
        second=random_colour(rng, vivid=vivid),
        pattern=pattern,
        frequency=float(np.exp(rng.uniform(np.log(5), np.log(40)))),
        axis=(0.0, 1.0, 0.0) if rng.random() < 0.6 else _axis(rng),
        grain=rng.uniform(0.04, 0.2),
        grain_frequency=rng.uniform(40, 300),
        specular=rng.uniform(0.0, 0.12),
        gloss=rng.uniform(4, 20),
        bump=rng.uniform(0.15, 0.5),
    )


def _folds(star: FloatArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of a few centimetres' wavelength at the vertices, clipped to [-1.5, 2.5]."""
    places = (star * rng.uniform(25, 60) + rng.uniform(0, VOLUME, 3)).astype(int) % VOLUME
    return np.asarray(np.clip(noise_volume()[places[:, 0], places[:, 1], places[:, 2]], -1.5, 2.5))


def _axis(rng: np.random.Generator) -> tuple[float, float, float]:
    x, y, z = rng.standard_normal(3) + 1e-9
    length = float(np.sqrt(x * x + y * y + z * z))
    return (x / length, y / length, z / length)


def _colour(srgb: NDArray[np.floating]) -> Colour:
    r, g, b = linear(np.clip(srgb, 0, 1)).tolist()
    return (r, g, b)


@cache
def _star() -> tuple[FloatArray, NDArray[np.uint8], csr_array]:
    """Star pose, parts, and the mean over neighbours as a matrix."""
    template = load_anny().template
    faces, count = template.faces, template.vertex_count
    start = np.concatenate([faces[:, 0], faces[:, 1], faces[:, 2], faces[:, 1], faces[:, 2], faces[:, 0]])
    end = np.concatenate([faces[:, 1], faces[:, 2], faces[:, 0], faces[:, 0], faces[:, 1], faces[:, 2]])
    adjacency = csr_array((np.ones(len(start), np.float32), (start, end)), shape=(count, count))
    adjacency.data[:] = 1.0
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    smooth = csr_array(
        (adjacency.data / np.repeat(degree, np.diff(adjacency.indptr)), adjacency.indices, adjacency.indptr),
        shape=(count, count),
    )
    return template.vertices, template.part_index, smooth.astype(np.float32)
