"""Named places on the skin that ride on one bone: palms, heels, ears, the mouth.

They are found once on an average adult by geometry; on any other body they are the same vertices. The frame of a hand
has three axes: `along` (wrist to fingers), `palm` (out of the palm) and `lateral` (from the little finger's side to the
thumb's side, the axis of what a fist holds).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.anny import load_anny
from interactvlm.body.parts import PART_NAMES
from interactvlm.body.rig import ShapedBody, load_rig

__all__ = ["HandFrame", "Landmarks", "hand_axes", "landmarks_of"]


@dataclass(frozen=True, eq=False)
class HandFrame:
    """A hand in the A-pose: palm centre [3], its axes [3] each, and its length from wrist to fingertip, metres."""

    centre: NDArray[np.float64]
    along: NDArray[np.float64]
    palm: NDArray[np.float64]
    lateral: NDArray[np.float64]
    length: float


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Landmarks of one body.

    Attributes:
        bones: name -> bone it rides on.
        offsets: name -> float64 [3] from that bone's head, in the A-pose's axes.
        hands: ".L" and ".R".
    """

    bones: Mapping[str, int]
    offsets: Mapping[str, NDArray[np.float64]]
    hands: Mapping[str, HandFrame]


def landmarks_of(body: ShapedBody) -> Landmarks:
    """Where a body's landmarks are: skin landmarks, and every bone's head under the bone's name."""
    rig, vertices = body.rig, body.a_pose
    bones = dict(rig.index)
    offsets = {name: np.zeros(3) for name in rig.bone_names}
    for name, (bone, members) in _landmark_vertices().items():
        bones[name] = rig.index[bone]
        offsets[name] = vertices[members].mean(axis=0) - body.heads[rig.index[bone]]
    hands = {}
    for side in (".L", ".R"):
        along, palm, lateral = hand_axes(body, side)
        wrist = body.heads[rig.index["wrist" + side]]
        tip = body.heads[rig.index["finger3-3" + side]]
        hands[side] = HandFrame(
            centre=wrist + offsets["palm" + side],
            along=along,
            palm=palm,
            lateral=lateral,
            length=float(np.linalg.norm(tip - wrist)) * 1.2,
        )
    return Landmarks(bones, offsets, hands)


def hand_axes(body: ShapedBody, side: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """`along`, `palm` and `lateral` of a hand in the A-pose, orthonormal."""
    at = {name: body.heads[body.rig.index[name + side]] for name in ("wrist", "finger2-1", "finger3-1", "finger5-1")}
    along = _unit(at["finger3-1"] - at["wrist"])
    palm = _unit(np.cross(along, at["finger2-1"] - at["finger5-1"])) * (1.0 if side == ".L" else -1.0)
    lateral = np.cross(palm, along) * (1.0 if side == ".L" else -1.0)
    return along, palm, lateral


@cache
def _landmark_vertices() -> dict[str, tuple[str, NDArray[np.intp]]]:
    """Bone and template vertices of each skin landmark; right ones are the partners of the left ones."""
    body = load_rig().shape({"age": 2 / 3})
    anny = load_anny()
    v, part = body.a_pose, anny.template.part_index
    head_at = {name: body.heads[place] for name, place in body.rig.index.items()}

    def of(name: str) -> NDArray[np.bool_]:
        return np.asarray(part == PART_NAMES.index(name))

    found: dict[str, tuple[str, NDArray[np.intp]]] = {}
    _, palm, _ = hand_axes(body, ".L")
    centre = head_at["wrist.L"] + 0.72 * (head_at["finger3-1.L"] - head_at["wrist.L"])
    offset = v - centre
    across = offset - np.outer(offset @ palm, palm)
    near = of("left hand") & (offset @ palm > 0) & (np.linalg.norm(across, axis=1) < 0.022)
    found["palm.L"] = ("wrist.L", np.flatnonzero(near))

    foot = of("left foot")
    low, z = v[foot, 1].min(), v[:, 2]
    share = (z - z[foot].min()) / np.ptp(z[foot])
    sole = foot & (v[:, 1] < low + 0.015)
    found["heel.L"] = ("foot.L", np.flatnonzero(sole & (share < 0.28)))
    found["ball.L"] = ("foot.L", np.flatnonzero(sole & (share > 0.62) & (share < 0.8)))
    found["toe.L"] = ("foot.L", np.flatnonzero(foot & (share > 0.95)))

    head = of("head") & (v[:, 1] > head_at["neck03"][1])
    found["ear.L"] = ("head", np.flatnonzero(head & (v[:, 0] > 0.93 * v[head, 0].max())))
    found["crown"] = ("head", np.flatnonzero(head & (v[:, 1] > v[head, 1].max() - 0.015)))
    middle = head & (np.abs(v[:, 0]) < 0.02)
    nose = v[middle][np.argmax(z[middle])]
    chin = of("head") & (np.abs(v[:, 0]) < 0.02)
    mouth = chin & (v[:, 1] < nose[1] - 0.03) & (v[:, 1] > nose[1] - 0.055) & (z > nose[2] - 0.05)
    found["mouth"] = ("head", np.flatnonzero(mouth))
    found["brow"] = ("head", np.flatnonzero(middle & (v[:, 1] > nose[1] + 0.04) & (v[:, 1] < nose[1] + 0.08) & (z > 0)))

    torso = of("torso")
    spine = torso & (np.abs(v[:, 0]) < 0.06) & (np.abs(v[:, 1] - head_at["spine01"][1]) < 0.04)
    behind = z < head_at["spine01"][2]
    found["upper_back"] = ("spine01", np.flatnonzero(spine & behind))
    found["chest"] = ("spine01", np.flatnonzero(spine & ~behind))
    collar = 0.5 * (head_at["neck01"] + head_at["upperarm01.L"])
    ridge = torso & (np.abs(v[:, 0] - collar[0]) < 0.025) & (v[:, 1] > collar[1])
    found["shoulder_top.L"] = ("clavicle.L", np.flatnonzero(ridge))
    waist = (torso | of("hips")) & (np.abs(v[:, 1] - head_at["spine04"][1]) < 0.03) & (np.abs(v[:, 0]) < 0.05)
    found["belly"] = ("spine04", np.flatnonzero(waist & (z > 0)))
    found["loin"] = ("spine04", np.flatnonzero(waist & (z < 0)))

    empty = [name for name, (_, members) in found.items() if not len(members)]
    if empty:
        raise AssertionError(f"the shipped body has no {', '.join(empty)}")
    for name in [name for name in found if name.endswith(".L")]:
        bone, members = found[name]
        right = bone[:-2] + ".R" if bone.endswith(".L") else bone
        found[name[:-2] + ".R"] = (right, np.sort(anny.mirror[members]).astype(np.intp))
    return found


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))
