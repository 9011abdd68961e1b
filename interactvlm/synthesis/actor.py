"""A person on stage: a body, its landmarks and its pose, and the moves that interactions are made of."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.anny import load_anny
from interactvlm.body.articulation import load_articulation, mirrored_angles
from interactvlm.body.inverse import Pose, Targets, solve_pose
from interactvlm.body.landmarks import landmarks_of
from interactvlm.body.parts import PART_NAMES
from interactvlm.body.rig import ShapedBody, to_anny_axes
from interactvlm.synthesis.scene import PosedBody

__all__ = ["ARMS", "FLOOR_PRESS", "HEAD", "LEGS", "TRUNK", "Actor", "part_vertices", "side_of"]

Array = NDArray[np.float64]

FLOOR_PRESS = 0.004
"""Metres that soles give way under a standing person."""


def _dofs(*stems: str) -> tuple[str, ...]:
    return tuple(name for name in load_articulation().names if name.split(".")[0] in stems)


LEGS = _dofs("hip_flex", "hip_abduct", "hip_turn", "knee", "ankle_flex", "ankle_roll", "ankle_turn")
ARMS = _dofs(
    *("clavicle_raise", "clavicle_front", "arm_swing", "arm_raise", "arm_turn"),
    *("elbow", "forearm_turn", "wrist_flex", "wrist_side"),
)
TRUNK = _dofs("spine_bend", "spine_lean", "spine_twist")
HEAD = _dofs("neck_nod", "neck_tilt", "neck_turn")


def side_of(hand: str) -> tuple[str, float]:
    """("left" or "right") -> (".L", +1) or (".R", -1): the suffix of names and the sign of the person's outward x."""
    return (".L", 1.0) if hand == "left" else (".R", -1.0)


def part_vertices(*parts: str) -> NDArray[np.intp]:
    """Ascending vertex ids of body parts."""
    index = load_anny().template.part_index
    return np.flatnonzero(np.isin(index, [PART_NAMES.index(part) for part in parts]))


class Actor:
    """One person, facing +z, feet near the origin.

    Args:
        body: the shaped body.
        rng: draws the jitter of everything this person does.
    """

    def __init__(self, body: ShapedBody, rng: np.random.Generator) -> None:
        self.body = body
        self.marks = landmarks_of(body)
        self.rng = rng
        self.pose = Pose(np.zeros(len(load_articulation().names)))
        self._cached: tuple[Pose, Array] | None = None

    # ---- measures -------------------------------------------------------------------------------------------------

    @property
    def stature(self) -> float:
        """Height of the standing body, metres."""
        return float(np.ptp(self.body.a_pose[:, 1]))

    @property
    def arm_length(self) -> float:
        """From the shoulder joint over the elbow to the palm, metres."""
        heads, index = self.body.heads, self.body.rig.index
        chain = [heads[index[name + ".L"]] for name in ("upperarm01", "lowerarm01", "wrist")]
        chain.append(self.marks.hands[".L"].centre)
        return float(sum(np.linalg.norm(b - a) for a, b in pairwise(chain)))

    @property
    def leg_length(self) -> float:
        """From the hip joint to the sole, metres."""
        return float(self.body.heads[self.body.rig.index["upperleg01.L"], 1] - self.body.a_pose[:, 1].min())

    @property
    def vertices(self) -> Array:
        """The contact template's vertices now, float64 [V, 3]."""
        if self._cached is None or not _same(self._cached[0], self.pose):
            self._cached = (self.pose.copy(), self.body.vertices(*self.pose.frames(self.body)))
        return self._cached[1]

    def where(self, landmark: str, shift: Array | None = None) -> Array:
        """A landmark (moved by `shift` in the A-pose's axes) in the world now, float64 [3]."""
        turns, heads = self.pose.frames(self.body)
        bone = self.marks.bones[landmark]
        offset = self.marks.offsets[landmark] + (0 if shift is None else shift)
        return np.asarray(heads[bone] + turns[bone] @ offset)

    def axis(self, bone: str, vector: Array) -> Array:
        """A direction fixed to a bone in the A-pose, in the world now."""
        turns, _ = self.pose.frames(self.body)
        return np.asarray(turns[self.marks.bones[bone]] @ vector)

    # ---- moves ----------------------------------------------------------------------------------------------------

    def assume(self, degrees: Mapping[str, float], jitter: float = 0.3) -> None:
        """Take a pose given in degrees; every degree of freedom strays by `jitter` of its usual width."""
        articulation = load_articulation()
        both = {}
        for name, value in degrees.items():
            for full in (name,) if name in articulation.names else (name + ".L", name + ".R"):
                both[full] = value
        angles = articulation.angles(both)
        noise = np.clip(self.rng.standard_normal(len(angles)), -2, 2) * articulation.width * jitter
        calm = np.array([0.25 if name.split(".")[0].endswith(("roll", "_side", "_curl")) else 1.0
                         for name in articulation.names])  # fmt: skip
        self.pose = Pose(np.clip(angles + noise * calm, articulation.low, articulation.high),
                         self.pose.turn.copy(), self.pose.place.copy())  # fmt: skip

    def set_angles(self, degrees: Mapping[str, float]) -> None:
        """Change some degrees of freedom, clipped to their limits."""
        articulation = load_articulation()
        for name, value in degrees.items():
            place = articulation.names.index(name)
            self.pose.angles[place] = np.clip(np.radians(value), articulation.low[place], articulation.high[place])

    def mirror(self) -> None:
        """Swap left and right of the pose."""
        self.pose.angles = mirrored_angles(load_articulation(), self.pose.angles)
        self.pose.turn = self.pose.turn * [1, -1, -1]
        self.pose.place = self.pose.place * [-1, 1, 1]

    def targets(self) -> Targets:
        """An empty list of targets on this body."""
        return Targets(self.marks)

    def solve(self, targets: Targets, free: tuple[str, ...], **options: object) -> float:
        """Move to meet the targets; returns the largest remaining distance, metres."""
        self.pose, error = solve_pose(self.body, self.pose, targets, free=free, **options)  # type: ignore[arg-type]
        return error

    def stand(self, left: tuple[float, float, float], right: tuple[float, float, float], height: float = 0.0) -> float:
        """Plant the soles flat on y = `height`: x, z and outward turn in degrees of the left and the right foot.

        The pelvis comes down as far as the legs are bent. Returns the largest distance missed, metres.
        """
        self._drop(height)
        targets = self.targets()
        for side, sign, (x, z, out) in ((".L", 1.0, left), (".R", -1.0, right)):
            self.plant(targets, side, np.array([x, height, z]), out * sign)
        error = self.solve(targets, LEGS, move_root=True, stiffness=0.004, iterations=30)
        self._drop(height)
        return error

    def plant(self, targets: Targets, side: str, ankle: Array, turned: float, weight: float = 1.0) -> None:
        """Ask for a flat sole with the ankle above `ankle`, the toes turned left by `turned` degrees."""
        offsets, bone = self.marks.offsets, "foot" + side
        forward = np.array([np.sin(np.radians(turned)), 0.0, np.cos(np.radians(turned))])
        heel, ball = offsets["heel" + side], offsets["ball" + side]
        length = float(np.linalg.norm((ball - heel)[[0, 2]]))
        back = float((heel)[2])
        lift = 0.006  # the sole's landmarks are means of vertices that lie a little above its lowest
        flat = np.array([ankle[0], ankle[1] + lift, ankle[2]])
        targets.point("heel" + side, flat + back * forward, weight=weight)
        targets.point("ball" + side, flat + (back + length) * forward, weight=weight)
        targets.direction(bone, np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0]), weight=0.05 * weight)

    def _drop(self, height: float) -> None:
        soles = self.vertices[part_vertices("left foot", "right foot"), 1].min()
        self.pose.place[1] += height - FLOOR_PRESS - soles

    def look(self, point: Array) -> None:
        """Turn the head towards a point in the world, as far as the neck goes."""
        targets = self.targets()
        direction = point - self.where("head")
        targets.direction("head", np.array([0.0, 0.0, 1.0]), direction, weight=0.3)
        self.solve(targets, HEAD, stiffness=0.05)

    def reach(
        self,
        targets: Targets,
        hand: str,
        point: Array,
        *,
        palm: Array | None = None,
        lateral: Array | None = None,
        along: Array | None = None,
        gap: float = 0.0,
    ) -> None:
        """Ask for a palm `gap` metres away from a point along its own normal, with the hand's axes turned as given."""
        side, _ = side_of(hand)
        frame = self.marks.hands[side]
        targets.point("palm" + side, point, shift=gap * frame.palm)
        for own, wanted in ((frame.palm, palm), (frame.lateral, lateral), (frame.along, along)):
            if wanted is not None:
                targets.direction("wrist" + side, own, wanted, weight=0.08)

    def hand_frame(self, hand: str) -> tuple[Array, Array, Array, Array]:
        """Palm centre, and the axes palm, lateral and along, in the world now."""
        side, _ = side_of(hand)
        frame = self.marks.hands[side]
        bone = "wrist" + side
        return (
            self.where("palm" + side),
            self.axis(bone, frame.palm),
            self.axis(bone, frame.lateral),
            self.axis(bone, frame.along),
        )

    # ---- result ---------------------------------------------------------------------------------------------------

    def posed(self, world: Array) -> PosedBody:
        """The result, moved by `world` float64 [4, 4]."""
        rotations = self.pose.rotations()
        _, heads = self.pose.frames(self.body)
        turned = _log(world[:3, :3] @ _exp(rotations[0]))
        rotations[0] = turned
        named = {
            name: (float(vector[0]), float(vector[1]), float(vector[2]))
            for name, vector in zip(self.body.rig.bone_names, to_anny_axes(rotations), strict=True)
            if np.abs(vector).max() > 1e-7
        }
        move = lambda points: (points @ world[:3, :3].T + world[:3, 3]).astype(np.float32)  # noqa: E731
        return PosedBody(move(self.vertices), move(heads), dict(self.body.phenotype), named)


def _same(one: Pose, other: Pose) -> bool:
    return (
        np.array_equal(one.angles, other.angles)
        and np.array_equal(one.turn, other.turn)
        and np.array_equal(one.place, other.place)
    )


def _exp(vector: Array) -> Array:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(vector).as_matrix())


def _log(matrix: Array) -> Array:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(matrix).as_rotvec())
