"""Which material a point of the skin wears: cuts of clothes in the star pose, evaluated at every pixel.

Cuts are functions of the star pose (metres; arms along x, legs spread by 30 degrees), so hems stay sharp however coarse
the mesh is and follow every pose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.compiled import compiled

__all__ = ["OUTFIT", "SLOTS", "along_leg", "slot_at"]

#: Materials of a person, in the order of their rows.
SLOTS = (
    *("skin", "top", "bottom", "shoe", "sole", "hair", "glove", "hat"),
    *("eye", "iris", "lips", "sock", "belt", "print", "glasses"),
)
SKIN, TOP, BOTTOM, SHOE, SOLE, HAIR, GLOVE, HAT, EYE, IRIS, LIPS, SOCK, BELT, PRINT, GLASSES = range(len(SLOTS))

#: Numbers that cut an outfit, by place in its row.
OUTFIT = (
    "waist",  # y where the top ends and the trousers begin
    "sleeve",  # |x| where sleeves end
    "collar",  # y above which the neck is bare
    "plunge",  # depth of the neckline in front
    "hem",  # where trousers end, metres down the leg
    "sock",  # where socks begin, metres down the leg
    "cuff",  # |x| where gloves begin
    "hat",  # y above which the hat is worn
    "hairline",  # lift of the hairline
    "nape",  # y down to which hair grows behind
    "ankle",  # y below which shoes are worn; -2: barefoot
    "belt",  # width of the belt
    "print",  # half height of the print on the chest
    "glasses",  # 1 with dark glasses
    "beard",  # 1 with a beard
)
(
    WAIST,
    SLEEVE,
    COLLAR,
    PLUNGE,
    HEM,
    SOCKLINE,
    CUFF,
    HATLINE,
    HAIRLINE,
    NAPE,
    ANKLE,
    BELTWIDTH,
    PRINTSIZE,
    DARK,
    BEARD,
) = range(len(OUTFIT))

# Body parts by index into PART_NAMES.
_TORSO, _HIPS, _HEAD = 0, 1, 2


def along_leg(side: Any, y: Any) -> Any:
    """Metres from the hip down the leg of the star pose, from |x| and y (numbers or arrays); the sole is at 0.95."""
    return (side - 0.115) * 0.53 - (y + 0.22) * 0.85


_along_leg = compiled(along_leg)


@compiled
def slot_at(x: float, y: float, z: float, part: int, outfit: NDArray[np.float32]) -> int:
    """The slot worn at a point of the star pose.

    Args:
        x: to the person's left, metres.
        y: up.
        z: forward.
        part: index into PART_NAMES.
        outfit: float32 [len(OUTFIT)].
    """
    side = abs(x)
    if part == 2:  # head and neck
        if y > outfit[HATLINE] - 0.25 * (0.02 - z) and y > 0.42:
            return HAT
        if z > 0.085 and y < 0.47:  # the face
            eye = ((side - 0.031) / 0.0135) ** 2 + ((y - 0.4435) / 0.0062) ** 2
            if outfit[DARK] > 0 and ((side - 0.032) / 0.029) ** 2 + ((y - 0.442) / 0.02) ** 2 < 1:
                return GLASSES
            if eye < 1:
                return IRIS if ((side - 0.031) / 0.0062) ** 2 + ((y - 0.4435) / 0.0065) ** 2 < 1 else EYE
            if abs(y - 0.464 + 0.08 * max(side - 0.03, 0.0)) < 0.0035 and 0.014 < side < 0.05:
                return HAIR  # eyebrows
            if (side / 0.026) ** 2 + ((y - 0.372) / 0.0075) ** 2 < 1:
                return LIPS
        if outfit[DARK] > 0 and abs(y - 0.452) < 0.004 and z > 0.01:
            return GLASSES
        if outfit[BEARD] > 0 and z > 0.045 and y < 0.383 - 0.3 * max(0.03 - side, 0.0) and y > 0.325:
            return HAIR
        line = outfit[NAPE] + (0.505 + outfit[HAIRLINE] - outfit[NAPE]) * min(max((z + 0.0) / 0.085, 0.0), 1.0)
        if y > line:
            return HAIR
        return TOP if y < outfit[COLLAR] else SKIN
    if part <= _HIPS:
        if z > 0.0 and y > outfit[COLLAR] - outfit[PLUNGE] + side * 1.3:
            return SKIN
        if side > outfit[SLEEVE]:
            return SKIN
        if y < outfit[WAIST]:
            return BELT if y > outfit[WAIST] - outfit[BELTWIDTH] else BOTTOM
        if z > 0.05 and abs(y - 0.13) < outfit[PRINTSIZE] and side < 1.3 * outfit[PRINTSIZE]:
            return PRINT
        return TOP
    if part == 3 or part == 4:  # hands
        return GLOVE if side > outfit[CUFF] else (TOP if side < outfit[SLEEVE] else SKIN)
    if part == 5 or part == 6:  # feet
        if y < outfit[ANKLE]:
            return SOLE if y < -1.052 else SHOE
        down = _along_leg(side, y)
        return BOTTOM if down < outfit[HEM] else (SOCK if down > outfit[SOCKLINE] else SKIN)
    if part <= 10:  # arms
        return GLOVE if side > outfit[CUFF] else (TOP if side < outfit[SLEEVE] else SKIN)
    down = _along_leg(side, y)
    if down < outfit[HEM]:
        return BOTTOM
    return SOCK if down > outfit[SOCKLINE] else SKIN
