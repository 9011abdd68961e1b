"""Bodies from a user's own SMPL, SMPL-H or SMPL-X file, posed as the published models expect them.

The canonical pose is the neutral body of zero shape with its hips turned 30 degrees outwards about z ("Vitruvian",
paper section 3). Formulas: Loper et al., "SMPL: A Skinned Multi-Person Linear Model", section 3. The files may not be
redistributed, so none ships here; the official .pkl files are pickles and are not opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.parts import PART_NAMES
from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InputError, MeshError
from interactvlm.npz import read_arrays

__all__ = ["BODY_ARRAYS", "HIP_ANGLE", "SkinnedBody", "load_skinned_body", "load_smpl", "part_of_joint"]

HIP_ANGLE = 30.0
"""Degrees by which each leg is spread."""

_LEFT_HIP, _RIGHT_HIP = 1, 2
BODY_ARRAYS = ("v_template", "f", "weights", "posedirs", "J_regressor", "kintree_table")
"""Names of the arrays that are read from a body model file."""
_JOINTS = {"smpl": 24, "smplh": 52, "smplx": 55}
_VERTICES = {"smpl": 6890, "smplh": 6890, "smplx": 10475}

# The first 22 joints are common to the three models; the rest are fingers, and SMPL-X's jaw and eyes.
_TRUNK_AND_LIMBS = (
    "hips", "left thigh", "right thigh", "torso", "left leg", "right leg", "torso", "left foot", "right foot",
    "torso", "left foot", "right foot", "head", "torso", "torso", "head", "left arm", "right arm",
    "left forearm", "right forearm", "left hand", "right hand",
)  # fmt: skip
_EXTREMITIES = {
    "smpl": ("left hand", "right hand"),
    "smplh": ("left hand",) * 15 + ("right hand",) * 15,
    "smplx": ("head",) * 3 + ("left hand",) * 15 + ("right hand",) * 15,
}


@dataclass(frozen=True, slots=True, eq=False)
class SkinnedBody:
    """A body that linear blend skinning poses. J joints, V vertices, F faces.

    Attributes:
        topology: "smpl", "smplh" or "smplx".
        vertices: float64 [V, 3], rest pose, zero shape, metres.
        faces: int32 [F, 3].
        weights: float64 [V, J], rows sum to 1.
        pose_directions: float64 [V, 3, 9 (J - 1)], what joint rotations add to the rest vertices.
        joints: float64 [J, 3], rest positions.
        parents: int64 [J], -1 for the root; parents come before their children.
    """

    topology: str
    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    weights: NDArray[np.float64]
    pose_directions: NDArray[np.float64]
    joints: NDArray[np.float64]
    parents: NDArray[np.int64]

    def pose(self, rotations: NDArray[np.float64]) -> NDArray[np.float64]:
        """Vertices under joint rotations.

        Args:
            rotations: float64 [J, 3, 3], each relative to the parent (column vectors).

        Returns:
            float64 [V, 3].
        """
        corrected = self.vertices + self.pose_directions @ (rotations[1:] - np.eye(3)).ravel()
        turns, origins = [rotations[0]], [self.joints[0]]
        for joint in range(1, len(self.joints)):
            parent = int(self.parents[joint])
            turns.append(turns[parent] @ rotations[joint])
            origins.append(turns[parent] @ (self.joints[joint] - self.joints[parent]) + origins[parent])
        turn, origin = np.stack(turns), np.stack(origins)
        shift = origin - np.einsum("jab,jb->ja", turn, self.joints)
        blended = np.tensordot(self.weights, turn, axes=1)
        return np.asarray(np.einsum("vab,vb->va", blended, corrected) + self.weights @ shift)

    def canonical(self) -> BodyTemplate:
        """The body in the canonical pose, with the part of each vertex."""
        rotations = np.tile(np.eye(3), (len(self.joints), 1, 1))
        rotations[_LEFT_HIP] = _about_z(HIP_ANGLE)
        rotations[_RIGHT_HIP] = _about_z(-HIP_ANGLE)
        part_of = np.array([PART_NAMES.index(name) for name in part_of_joint(self.topology)])
        share = self.weights @ np.eye(len(PART_NAMES))[part_of]
        return BodyTemplate(
            topology=self.topology,
            vertices=self.pose(rotations).astype(np.float32),
            faces=self.faces,
            part_index=share.argmax(axis=1).astype(np.uint8),
        )


def part_of_joint(topology: str) -> tuple[str, ...]:
    """The body part that each joint of "smpl", "smplh" or "smplx" moves, in joint order."""
    return _TRUNK_AND_LIMBS + _EXTREMITIES[topology]


def load_smpl(path: Path, *, topology: str) -> BodyTemplate:
    """The canonical template from a body model file.

    Args:
        path: the npz file as downloaded (`SMPLX_NEUTRAL.npz`), or converted to plain arrays of the same names.
        topology: "smpl", "smplh" or "smplx".

    Raises:
        InputError: for a pickle.
        MeshError: when the file is no such body.
    """
    body = load_skinned_body(path, topology=topology)
    if len(body.vertices) != _VERTICES[topology]:
        raise MeshError(path.name, f"has {len(body.vertices)} vertices, {topology} has {_VERTICES[topology]}")
    return body.canonical()


def load_skinned_body(path: Path, *, topology: str) -> SkinnedBody:
    """Read and check a body model file of any vertex count; arguments and errors as for `load_smpl`."""
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise InputError(
            path.name,
            "is a pickle, which could run code when opened; convert it once with "
            f"`interactvlm convert-checkpoint {path.name} {path.stem}.npz`",
        )
    arrays = read_arrays(path, BODY_ARRAYS)
    if any(array.dtype.kind not in "fiu" for array in arrays.values()):
        raise MeshError(path.name, f"must hold plain numbers under {', '.join(BODY_ARRAYS)}")
    joints, count = _JOINTS[topology], len(arrays["v_template"]) if arrays["v_template"].ndim else 0
    expected = {
        "v_template": (count, 3),
        "weights": (count, joints),
        "posedirs": (count, 3, 9 * (joints - 1)),
        "J_regressor": (joints, count),
        "kintree_table": (2, joints),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise MeshError(path.name, f"holds {name} of shape {arrays[name].shape}, {topology} needs {shape}")
        if not np.isfinite(arrays[name]).all():
            raise MeshError(path.name, f"holds values in {name} that are not finite")
    faces = arrays["f"]
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or faces.min() < 0 or faces.max() >= count:
        raise MeshError(path.name, f"must hold triangles of its {count} vertices under f")
    parents = arrays["kintree_table"][0].astype(np.int64)
    parents[0] = -1  # written as 2**32 - 1
    if not ((parents[1:] >= 0) & (parents[1:] < np.arange(1, joints))).all():
        raise MeshError(path.name, "names a parent in kintree_table that does not come before its child")
    weights = arrays["weights"].astype(np.float64)
    if weights.min() < 0 or not np.allclose(weights.sum(axis=1), 1, atol=1e-3):
        raise MeshError(path.name, "holds skinning weights that do not sum to 1 per vertex")
    vertices = arrays["v_template"].astype(np.float64)
    return SkinnedBody(
        topology=topology,
        vertices=vertices,
        faces=faces.astype(np.int32),
        weights=weights,
        pose_directions=arrays["posedirs"].astype(np.float64),
        joints=arrays["J_regressor"].astype(np.float64) @ vertices,
        parents=parents,
    )


def _about_z(degrees: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
