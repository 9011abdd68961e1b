"""Named degrees of freedom of the body with their limits: what a person can do, in few numbers.

A degree of freedom turns one bone, or several by fixed shares (the spine over five bones), about an axis that is
fixed in the A-pose. Angles of one bone add up as a rotation vector. Left and right mirror each other exactly.
Limits are those of healthy adults in clinical tables, counted from the A-pose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.rig import BodyRig, load_rig
from interactvlm.errors import InputError

__all__ = ["FINGERS", "Articulation", "load_articulation", "mirrored_angles"]

FINGERS: tuple[str, ...] = ("thumb", "index", "middle", "ring", "pinky")

_SPINE = {"spine05": 0.15, "spine04": 0.25, "spine03": 0.25, "spine02": 0.2, "spine01": 0.15}
_NECK = {"neck01": 0.2, "neck02": 0.2, "neck03": 0.2, "head": 0.4}
_SHOULDER = {"shoulder01": 0.25, "upperarm01": 0.75}

# name, bones with shares, axis (of the left side where there are two), least and most degrees, how readily it moves
# (degrees; the prior's width). Frame: +x left, +y up, +z front.
_MIDDLE: tuple[tuple[str, Mapping[str, float], tuple[float, float, float], float, float, float], ...] = (
    ("spine_bend", _SPINE, (1, 0, 0), -25, 80, 12),
    ("spine_lean", _SPINE, (0, 0, 1), -30, 30, 8),
    ("spine_twist", _SPINE, (0, 1, 0), -45, 45, 10),
    ("neck_nod", _NECK, (1, 0, 0), -45, 50, 10),
    ("neck_tilt", _NECK, (0, 0, 1), -35, 35, 8),
    ("neck_turn", _NECK, (0, 1, 0), -70, 70, 15),
)
_SIDED: tuple[tuple[str, Mapping[str, float], tuple[float, float, float] | str, float, float, float], ...] = (
    ("hip_flex", {"upperleg01": 1.0}, (-1, 0, 0), -25, 125, 30),
    ("hip_abduct", {"upperleg01": 1.0}, (0, 0, 1), -25, 55, 20),
    ("hip_turn", {"upperleg01": 1.0}, (0, 1, 0), -40, 55, 20),
    ("knee", {"lowerleg01": 1.0}, (1, 0, 0), -5, 145, 40),
    ("ankle_flex", {"foot": 1.0}, (-1, 0, 0), -50, 35, 12),
    ("ankle_roll", {"foot": 1.0}, (0, 0, 1), -20, 20, 6),
    ("ankle_turn", {"foot": 1.0}, (0, 1, 0), -20, 20, 6),
    ("clavicle_raise", {"clavicle": 1.0}, (0, 0, 1), -8, 28, 5),
    ("clavicle_front", {"clavicle": 1.0}, (0, -1, 0), -15, 25, 5),
    ("arm_swing", _SHOULDER, (-1, 0, 0), -60, 140, 35),
    ("arm_raise", _SHOULDER, (0, 0, 1), -55, 125, 35),
    ("arm_turn", _SHOULDER, (0, -1, 0), -70, 110, 35),
    ("elbow", {"lowerarm01": 1.0}, (-0.7474, -0.6579, 0.0598), -42, 105, 40),
    ("forearm_turn", {"lowerarm01": 0.0, "lowerarm02": 0.6, "wrist": 0.4}, "forearm", -85, 85, 30),
    ("wrist_flex", {"wrist": 1.0}, "lateral", -60, 60, 14),
    ("wrist_side", {"wrist": 1.0}, "palm", -25, 30, 10),
)
_CURL_SHARES = {"thumb": (0.35, 0.5, 0.55), "default": (0.9, 1.0, 0.65)}
_CURL_RANGE: Mapping[str, tuple[float, float, float]] = {"thumb": (-25, 60, 15), "default": (-12, 92, 15)}


@dataclass(frozen=True, eq=False)
class Articulation:
    """All degrees of freedom of the rig as arrays.

    Attributes:
        names: N names; sided ones end in ".L" or ".R".
        weights: float64 [N, B, 3], the rotation vector that one radian adds to every bone.
        low: float64 [N], radians.
        high: float64 [N], radians.
        width: float64 [N], radians: how far it strays from rest in ordinary movement.
        mirror: int64 [N], the same degree of freedom on the other side.
        mirror_sign: float64 [N], -1 where mirroring reverses it (turns of the trunk).
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    width: NDArray[np.float64]
    mirror: NDArray[np.int64]
    mirror_sign: NDArray[np.float64]

    def angles(self, degrees: Mapping[str, float]) -> NDArray[np.float64]:
        """A vector float64 [N] in radians from names and degrees, clipped to the limits; zero where missing.

        Raises:
            InputError: for an unknown name.
        """
        values = np.zeros(len(self.names))
        for name, value in degrees.items():
            if name not in self.names:
                raise InputError("pose", f"{name!r} is no degree of freedom of the body")
            values[self.names.index(name)] = np.radians(value)
        return np.clip(values, self.low, self.high)

    def rotations(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rotation vectors of all bones, float64 [B, 3], the root's zero."""
        return np.asarray(np.tensordot(angles, self.weights, axes=1))


def mirrored_angles(articulation: Articulation, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same pose seen in a mirror."""
    return np.asarray(angles[articulation.mirror] * articulation.mirror_sign)


@cache
def load_articulation() -> Articulation:
    """The table above on the shipped rig (once per process)."""
    rig = load_rig()
    axes = _hand_axes(rig)
    rows: list[tuple[str, Mapping[str, float], NDArray[np.float64], tuple[float, float, float]]] = []
    for name, bones, axis, *limits in _MIDDLE:
        rows.append((name, bones, np.array(axis, dtype=np.float64), _three(limits)))
    for side, sign in ((".L", 1.0), (".R", -1.0)):
        flip = np.array([1.0, sign, sign])  # how a mirror acts on rotation vectors
        for name, bones, given, *limits in _SIDED:
            left = axes[given] if isinstance(given, str) else np.array(given, dtype=np.float64)
            sided = {bone + side: share for bone, share in bones.items()}
            rows.append((name + side, sided, left * flip, _three(limits)))
        for number, finger in enumerate(FINGERS, start=1):
            kind = finger if finger in _CURL_SHARES else "default"
            sided = {f"finger{number}-{k}{side}": share for k, share in enumerate(_CURL_SHARES[kind], start=1)}
            rows.append((f"{finger}_curl{side}", sided, axes[finger] * flip, _three(_CURL_RANGE[kind])))
    names = tuple(row[0] for row in rows)
    weights = np.zeros((len(rows), len(rig.bone_names), 3))
    for place, (_, bones, turn, _) in enumerate(rows):
        for bone, share in bones.items():
            weights[place, rig.index[bone]] = share * turn / np.linalg.norm(turn)
    other = {".L": ".R", ".R": ".L"}
    mirror = [names.index(n[:-2] + other[n[-2:]]) if n[-2:] in other else i for i, n in enumerate(names)]
    signs = [-1.0 if n in ("spine_lean", "spine_twist", "neck_tilt", "neck_turn") else 1.0 for n in names]
    low, high, width = np.radians([row[3] for row in rows]).T
    return Articulation(names, weights, low, high, width, np.array(mirror), np.array(signs))


def _three(limits: Sequence[float]) -> tuple[float, float, float]:
    low, high, width = limits
    return float(low), float(high), float(width)


def _hand_axes(rig: BodyRig) -> dict[str, NDArray[np.float64]]:
    """Rotation axes of the left forearm and hand, from the bones of an average adult in the A-pose."""
    body = rig.shape({"age": 2 / 3})
    at = {name: body.heads[rig.index[name + ".L"]] for name in ("lowerarm02", "wrist", *_finger_bones())}
    along = _unit(at["finger3-1"] - at["wrist"])
    across = _unit(at["finger2-1"] - at["finger5-1"])  # towards the thumb's side
    palm = _unit(np.cross(along, across))  # left hand: out of the palm
    lateral = np.cross(palm, along)
    axes = {
        "forearm": -_unit(at["wrist"] - at["lowerarm02"]),  # positive: the palm turns up (supination)
        "lateral": np.cross(along, palm),  # positive: the palm bends towards the forearm
        "palm": np.cross(lateral, along) * -1,
    }
    for number, finger in enumerate(FINGERS, start=1):
        if finger == "thumb":
            continue
        direction = _unit(at[f"finger{number}-3"] - at[f"finger{number}-1"])
        axes[finger] = _unit(np.cross(direction, palm))  # turns the finger towards the palm
    tip = _unit(at["finger1-3"] - at["finger1-1"])
    axes["thumb"] = _unit(np.cross(tip, _unit(palm - 0.6 * lateral)))  # closes over the bent fingers
    return axes


def _finger_bones() -> list[str]:
    return [f"finger{number}-{k}" for number in range(1, 6) for k in (1, 2, 3)]


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))
