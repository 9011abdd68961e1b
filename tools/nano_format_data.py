"""What nano's answer format is fitted on: drawn pictures and made-up answers. Nothing here teaches meaning.

The pictures are noise, colour fields and stick figures; the body parts and affordances of an answer are drawn at
random from everyday expectations about the object's name, without looking at any picture.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from interactvlm.body.parts import PART_NAMES

__all__ = ["HELD_OUT_OBJECTS", "OBJECTS", "answer_affordance", "answer_parts", "draw_picture"]

# Kind of object -> (part groups with their probability, affordances). A group names one part, or a left/right pair.
_KINDS: dict[str, tuple[dict[str, float], tuple[str, ...]]] = {
    "seat": ({"hips": 1.0, "thigh": 0.8, "torso": 0.4, "arm": 0.1, "forearm": 0.2}, ("sit",)),
    "bed": ({"torso": 0.9, "hips": 0.9, "head": 0.5, "leg": 0.5, "thigh": 0.4}, ("lay", "sit")),
    "tool": ({"hand": 1.0, "forearm": 0.05}, ("grasp",)),
    "blade": ({"hand": 1.0}, ("cut", "stab", "grasp")),
    "vessel": ({"hand": 1.0, "head": 0.1}, ("wrapgrasp", "contain", "pour")),
    "ride": ({"hips": 0.9, "hand": 0.9, "foot": 0.8, "thigh": 0.4}, ("move", "sit")),
    "board": ({"foot": 1.0, "leg": 0.1}, ("move", "support")),
    "desk": ({"hand": 0.8, "forearm": 0.7, "arm": 0.1}, ("support",)),
    "screen": ({"hand": 1.0, "thigh": 0.2}, ("press", "display")),
    "door": ({"hand": 1.0}, ("open", "push")),
    "bag": ({"hand": 0.6, "torso": 0.6, "arm": 0.4}, ("lift", "contain", "open")),
    "worn": ({"head": 0.6, "torso": 0.4, "hand": 0.3}, ("wear", "listen")),
    "ball": ({"hand": 0.9, "foot": 0.3}, ("lift", "push", "wrapgrasp")),
    "floor": ({"foot": 1.0, "hips": 0.1, "hand": 0.1, "leg": 0.1}, ("support",)),
}
OBJECTS: dict[str, str] = {
    name: kind
    for kind, names in {
        "seat": "chair, bench, couch, stool, armchair, toilet, swing",
        "bed": "bed, mattress",
        "tool": "tennis racket, baseball bat, umbrella, toothbrush, remote, spoon, fork, broom, frisbee, hair dryer",
        "blade": "knife, scissors",
        "vessel": "bottle, cup, wine glass, bowl, mug, vase",
        "ride": "bicycle, motorcycle, horse, scooter, car",
        "board": "skateboard, snowboard, skis, surfboard",
        "desk": "dining table, desk, counter, table",
        "screen": "laptop, keyboard, cell phone, tv, tablet",
        "door": "refrigerator, oven, microwave, dishwasher, door",
        "bag": "backpack, handbag, suitcase, bag",
        "worn": "hat, earphone, tie, helmet",
        "ball": "sports ball, book, box, teddy bear, kite, basket, pizza, dog",
        "floor": "ground, floor, supporting surface, stairs, objects",
    }.items()
    for name in names.split(", ")
}
#: Never trained on: the format must hold for names it has not seen.
HELD_OUT_OBJECTS = (
    "sofa", "rocking chair", "golf club", "guitar", "pitcher", "sword", "tricycle", "wakeboard", "piano", "wardrobe",
    "shopping trolley", "scarf", "basketball", "ladder", "elephant", "sandwich", "door knob", "fire hydrant",
)  # fmt: skip
_MOST_PARTS = 5  # keeps every answer below 48 tokens


def answer_parts(object_name: str, rng: random.Random) -> tuple[str, ...]:
    """One to five body parts in the order of PART_NAMES."""
    groups, _ = _KINDS[OBJECTS[object_name]]
    drawn: set[str] = set()
    while not drawn:
        for group, probability in groups.items():
            if rng.random() < probability:
                drawn |= _sides(group, rng)
    return tuple(name for name in PART_NAMES if name in drawn)[:_MOST_PARTS]


def _sides(group: str, rng: random.Random) -> set[str]:
    if group in PART_NAMES:
        return {group}
    left, right = f"left {group}", f"right {group}"
    return rng.choice(({left, right}, {left, right}, {left}, {right}))


def answer_affordance(object_name: str, rng: random.Random) -> str:
    """One affordance that the object's kind allows."""
    return rng.choice(_KINDS[OBJECTS[object_name]][1])


def draw_picture(seed: int, side: int = 448) -> NDArray[np.uint8]:
    """One picture, RGB uint8 [side, side, 3]: a field of noise or colour, usually with shapes and figures on it."""
    rng = np.random.default_rng(seed)
    background = Image.fromarray(_field(rng, side))
    draw = ImageDraw.Draw(background)
    for _ in range(int(rng.integers(0, 7))):
        x, y = rng.uniform(-0.1, 0.9, 2) * side
        width, height = rng.uniform(0.05, 0.6, 2) * side
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        (draw.rectangle if rng.random() < 0.5 else draw.ellipse)((x, y, x + width, y + height), fill=colour)
    for _ in range(int(rng.integers(0, 3))):
        _stick_figure(draw, rng, side)
    return np.asarray(background)


def _field(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Noise of one random coarseness over a gradient between two colours."""
    cells = int(rng.choice((2, 4, 16, 64, side)))
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    noise = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
    first, second = rng.uniform(0, 255, (2, 3))
    ramp = np.linspace(0, 1, side)[:, None, None]
    gradient = (1 - ramp) * first + ramp * second
    share = rng.random()
    return (share * noise + (1 - share) * gradient).clip(0, 255).astype(np.uint8)


def _stick_figure(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    height = rng.uniform(0.3, 0.8) * side
    x, top = rng.uniform(0.2, 0.8) * side, rng.uniform(0.0, 0.3) * side
    skin, cloth = (tuple(int(c) for c in rng.integers(30, 256, 3)) for _ in range(2))
    neck, hips = (x, top + 0.2 * height), (x, top + 0.55 * height)
    draw.line((*neck, *hips), fill=cloth, width=int(0.16 * height))
    for origin, reach, colour in ((neck, 0.4, skin), (hips, 0.45, cloth)):
        for sign in (-1, 1):
            angle = rng.uniform(0.0, 1.4)
            end = (origin[0] + sign * np.sin(angle) * reach * height, origin[1] + np.cos(angle) * reach * height)
            draw.line((*origin, *end), fill=colour, width=int(0.07 * height))
    draw.ellipse((x - 0.08 * height, top, x + 0.08 * height, top + 0.17 * height), fill=skin)
