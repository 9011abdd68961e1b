"""Base poses, in degrees of freedom: where jitter and inverse kinematics start from.

A name without a side is meant for both. Zero is the A-pose: arms slanting down, elbows bent by 42 degrees.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BOARD", "CROUCH", "LIE_BACK", "LIE_SIDE", "RELAXED_HAND", "RIDE", "SIT", "STAND", "STRIDE"]

RELAXED_HAND: Mapping[str, float] = {
    "index_curl": 14,
    "middle_curl": 18,
    "ring_curl": 20,
    "pinky_curl": 22,
    "thumb_curl": 6,
}

STAND: Mapping[str, float] = {**RELAXED_HAND, "hip_abduct": -3, "knee": 2, "arm_raise": -22, "elbow": -28}

STRIDE: Mapping[str, float] = {
    **STAND,
    "hip_flex.L": 18,
    "knee.L": 8,
    "hip_flex.R": -12,
    "knee.R": 12,
    "arm_swing.L": -10,
    "arm_swing.R": 18,
    "elbow": -12,
}

SIT: Mapping[str, float] = {
    **RELAXED_HAND,
    "hip_flex": 84,
    "hip_abduct": 3,
    "knee": 84,
    "arm_raise": -18,
    "arm_swing": 6,
    "elbow": 12,
    "spine_bend": 4,
}

LIE_BACK: Mapping[str, float] = {**RELAXED_HAND, "hip_abduct": 2, "knee": 4, "arm_raise": -10, "elbow": -25}

LIE_SIDE: Mapping[str, float] = {
    **RELAXED_HAND,
    "hip_flex": 35,
    "knee": 50,
    "spine_bend": 12,
    "arm_swing": 35,
    "arm_raise": -20,
    "elbow": 40,
}

BOARD: Mapping[str, float] = {
    **RELAXED_HAND,
    "hip_flex": 42,
    "hip_abduct": 24,
    "hip_turn": 12,
    "knee": 62,
    "spine_bend": 22,
    "arm_raise": 28,
    "arm_swing": 5,
    "elbow": -12,
}

CROUCH: Mapping[str, float] = {
    **RELAXED_HAND,
    "hip_flex": 55,
    "knee": 70,
    "spine_bend": 25,
    "arm_raise": -15,
    "elbow": 15,
}

RIDE: Mapping[str, float] = {
    **RELAXED_HAND,
    "hip_flex": 70,
    "knee": 80,
    "spine_bend": 20,
    "neck_nod": -18,
    "arm_swing": 55,
    "arm_raise": -10,
    "elbow": -30,
}
