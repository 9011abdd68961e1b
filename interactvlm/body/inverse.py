"""Inverse kinematics: the pose nearest to a given one that brings places on the body to places in the world.

Levenberg-Marquardt over named degrees of freedom and the pelvis, with their limits, on the bones alone: no vertex is
moved while solving. A few milliseconds for a whole body.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.articulation import load_articulation
from interactvlm.body.landmarks import Landmarks
from interactvlm.body.posing import bone_frames
from interactvlm.body.rig import ShapedBody
from interactvlm.geometry.compiled import compiled

__all__ = ["Pose", "Targets", "solve_pose"]


@dataclass(eq=False)
class Pose:
    """A pose in few numbers.

    Attributes:
        angles: float64 [N], radians, the articulation's degrees of freedom.
        turn: float64 [3], rotation vector of the pelvis.
        place: float64 [3], the pelvis in the world, metres.
    """

    angles: NDArray[np.float64]
    turn: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    place: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def copy(self) -> Pose:
        """One that can be changed alone."""
        return Pose(self.angles.copy(), self.turn.copy(), self.place.copy())

    def rotations(self) -> NDArray[np.float64]:
        """Rotation vectors of all bones, float64 [B, 3]."""
        rotations = load_articulation().rotations(self.angles)
        rotations[0] = self.turn
        return rotations

    def frames(self, body: ShapedBody) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World rotations [B, 3, 3] and heads [B, 3] of the bones of a body in this pose."""
        return body.frames(self.rotations(), self.place)


class Targets:
    """What should be where: a list that grows, then is solved.

    Args:
        marks: the body's landmarks.
    """

    def __init__(self, marks: Landmarks) -> None:
        self._marks = marks
        self._rows: list[tuple[int, int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []

    def point(
        self,
        landmark: str,
        target: NDArray[np.float64],
        *,
        weight: float | tuple[float, float, float] = 1.0,
        shift: NDArray[np.float64] | None = None,
    ) -> None:
        """Bring a landmark (moved by `shift`, in the A-pose's axes) to a place; `weight` may differ along x, y, z."""
        offset = self._marks.offsets[landmark] + (0 if shift is None else shift)
        self._rows.append((0, self._marks.bones[landmark], offset, np.asarray(target, float), _three(weight)))

    def direction(
        self, bone: str, axis: NDArray[np.float64], target: NDArray[np.float64], *, weight: float = 0.2
    ) -> None:
        """Turn an axis of a bone (in the A-pose) into a direction; `weight` is metres per unit of difference."""
        unit = np.asarray(target, float) / np.linalg.norm(target)
        self._rows.append((1, self._marks.bones[bone], np.asarray(axis, float), unit, _three(weight)))

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Kinds [M], bones [M] and numbers [M, 9] (offset, target, weight)."""
        kinds = np.array([row[0] for row in self._rows], dtype=np.int64)
        bones = np.array([row[1] for row in self._rows], dtype=np.int64)
        numbers = np.array([np.concatenate(row[2:]) for row in self._rows]).reshape(-1, 9)
        return kinds, bones, numbers


def _three(weight: float | tuple[float, float, float]) -> NDArray[np.float64]:
    return np.broadcast_to(np.asarray(weight, dtype=np.float64), 3).copy()


def solve_pose(
    body: ShapedBody,
    base: Pose,
    targets: Targets,
    *,
    free: tuple[str, ...],
    move_root: bool = False,
    turn_root: bool = False,
    stiffness: float = 0.02,
    iterations: int = 25,
) -> tuple[Pose, float]:
    """The pose near `base` that meets the targets best.

    Args:
        body: whose.
        base: where to start and what to stay close to.
        targets: places and directions.
        free: degrees of freedom that may change, by name.
        move_root: whether the pelvis may move.
        turn_root: whether the pelvis may turn.
        stiffness: metres that a degree of freedom's own width costs; larger stays closer to `base`.
        iterations: at most.

    Returns:
        The pose and the largest distance that a point is still away from its target, metres.
    """
    articulation = load_articulation()
    chosen = np.array([articulation.names.index(name) for name in free], dtype=np.int64)
    kinds, bones, numbers = targets.arrays()
    order = _needed(body.rig.parents, bones)
    renumber = np.full(len(body.rig.parents), -1)
    renumber[order] = np.arange(len(order))
    parents = np.where(body.rig.parents[order] < 0, -1, renumber[body.rig.parents[order]])
    fixed = base.rotations()[order]
    root = np.array([0.4 if turn_root else 0.0, 0.5 if move_root else 0.0])
    start = np.concatenate([base.turn, base.place, base.angles[chosen]])
    low = np.concatenate([np.full(6, -np.inf), articulation.low[chosen]])
    high = np.concatenate([np.full(6, np.inf), articulation.high[chosen]])
    width = np.concatenate([np.full(3, root[0]), np.full(3, root[1]), articulation.width[chosen]])
    solution, error = _levenberg(
        parents.astype(np.int64), np.ascontiguousarray(body.heads[order]), np.ascontiguousarray(fixed),
        np.ascontiguousarray(articulation.weights[chosen][:, order]), start, np.minimum(low, start),
        np.maximum(high, start), width, stiffness, kinds, renumber[bones].astype(np.int64), numbers, iterations,
    )  # fmt: skip
    pose = base.copy()
    pose.turn, pose.place = solution[:3].copy(), solution[3:6].copy()
    pose.angles[chosen] = solution[6:]
    return pose, float(error)


def _needed(parents: NDArray[np.int64], bones: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bones and their ancestors, ascending."""
    wanted = set()
    for bone in bones.tolist():
        step = bone
        while step >= 0 and step not in wanted:
            wanted.add(step)
            step = int(parents[step])
    return np.array(sorted(wanted), dtype=np.int64)


@compiled
def _residuals(
    x: NDArray[np.float64],
    start: NDArray[np.float64],
    parents: NDArray[np.int64],
    heads: NDArray[np.float64],
    fixed: NDArray[np.float64],
    dofs: NDArray[np.float64],
    width: NDArray[np.float64],
    stiffness: float,
    kinds: NDArray[np.int64],
    bones: NDArray[np.int64],
    numbers: NDArray[np.float64],
    out: NDArray[np.float64],
) -> float:
    """Fill `out` [3 M + P]; returns the largest distance of a point from its target (weighted axes only)."""
    rotations = fixed.copy()
    rotations[0] = x[:3]
    for k in range(len(dofs)):
        change = x[6 + k] - start[6 + k]
        if change != 0.0:
            for bone in range(len(parents)):
                for i in range(3):
                    rotations[bone, i] += change * dofs[k, bone, i]
    turns, places = bone_frames(parents, heads, rotations, x[3:6])
    worst = 0.0
    for row in range(len(kinds)):
        bone = bones[row]
        squared = 0.0
        for i in range(3):
            value = 0.0
            for j in range(3):
                value += turns[bone, i, j] * numbers[row, j]
            if kinds[row] == 0:
                value += places[bone, i]
            difference = value - numbers[row, 3 + i]
            out[3 * row + i] = difference * numbers[row, 6 + i]
            if kinds[row] == 0 and numbers[row, 6 + i] > 0:
                squared += difference * difference
        worst = max(worst, np.sqrt(squared))
    base = 3 * len(kinds)
    for k in range(len(x)):
        out[base + k] = stiffness * (x[k] - start[k]) / width[k] if width[k] > 0 else 0.0
    return worst


@compiled
def _levenberg(
    parents: NDArray[np.int64],
    heads: NDArray[np.float64],
    fixed: NDArray[np.float64],
    dofs: NDArray[np.float64],
    start: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    width: NDArray[np.float64],
    stiffness: float,
    kinds: NDArray[np.int64],
    bones: NDArray[np.int64],
    numbers: NDArray[np.float64],
    iterations: int,
) -> tuple[NDArray[np.float64], float]:
    count = len(start)
    rows = 3 * len(kinds) + count
    x = start.copy()
    here, there = np.empty(rows), np.empty(rows)
    jacobian = np.zeros((rows, count))
    worst = _residuals(x, start, parents, heads, fixed, dofs, width, stiffness, kinds, bones, numbers, here)
    damping = 1e-3
    for _ in range(iterations):
        step = 1e-5
        for k in range(count):
            if width[k] <= 0:
                continue
            kept = x[k]
            x[k] = kept + step
            _residuals(x, start, parents, heads, fixed, dofs, width, stiffness, kinds, bones, numbers, there)
            x[k] = kept
            jacobian[:, k] = (there - here) / step
        normal = jacobian.T @ jacobian
        slope = jacobian.T @ here
        cost = here @ here
        improved = False
        for _attempt in range(6):
            system = normal.copy()
            for k in range(count):
                system[k, k] += damping * (normal[k, k] + 1e-6) + (1.0 if width[k] <= 0 else 0.0)
            move = np.linalg.solve(system, slope)
            trial = np.minimum(np.maximum(x - move, low), high)
            trial_worst = _residuals(
                trial, start, parents, heads, fixed, dofs, width, stiffness, kinds, bones, numbers, there
            )
            if there @ there < cost:
                improved = True
                break
            damping *= 4.0
        if not improved:
            break
        gain = cost - there @ there
        x = trial
        here[:] = there
        worst = trial_worst
        damping = max(damping * 0.3, 1e-7)
        if gain < 1e-9 + 1e-4 * cost:
            break
    return x, worst
