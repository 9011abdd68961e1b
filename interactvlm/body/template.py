"""The body on which human contact is answered: one mesh in one canonical pose, with named parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.parts import PART_NAMES
from interactvlm.errors import InputError, MeshError

if TYPE_CHECKING:
    from interactvlm.geometry.mesh import Mesh

__all__ = ["TOPOLOGIES", "BodyTemplate", "load_template"]

TOPOLOGIES: tuple[str, ...] = ("anny", "smpl", "smplh", "smplx")
"""Bodies that `load_template` knows; all but "anny" need the user's own file."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyTemplate:
    """A body in its canonical star pose (arms level, legs spread by 30 degrees each).

    The frame is PyTorch3D's world: metres, +x the person's left, +y up, +z the way they face. It is placed so that
    the four human cameras, which look at the origin, see all of it: the template is rendered as it is.

    Attributes:
        topology: name of the vertex order ("anny", "smplh"); contacts of one topology fit no other.
        vertices: float32 [V, 3].
        faces: int32 [F, 3], counter-clockwise seen from outside.
        part_index: uint8 [V], indices into `part_names`.
        part_names: the fifteen parts.

    Raises:
        MeshError: when shapes, indices or values do not fit together.
    """

    topology: str
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    part_index: NDArray[np.uint8]
    part_names: tuple[str, ...] = PART_NAMES

    def __post_init__(self) -> None:
        count = len(self.vertices)
        if self.vertices.shape != (count, 3) or not count or not np.isfinite(self.vertices).all():
            raise MeshError(self.topology, f"vertices must be finite [V, 3], not {self.vertices.shape}")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or not len(self.faces):
            raise MeshError(self.topology, f"faces must be [F, 3], not {self.faces.shape}")
        if self.faces.min() < 0 or self.faces.max() >= count:
            raise MeshError(self.topology, f"faces index outside the {count} vertices")
        if self.part_index.shape != (count,) or self.part_index.max() >= len(self.part_names):
            raise MeshError(self.topology, f"parts must be [{count}] indices below {len(self.part_names)}")
        for array in (self.vertices, self.faces, self.part_index):
            array.setflags(write=False)  # templates are shared between callers

    @property
    def vertex_count(self) -> int:
        """V."""
        return len(self.vertices)

    def as_mesh(self) -> Mesh:
        """The same surface for the rasteriser and the exporters."""
        from interactvlm.geometry.mesh import Mesh

        return Mesh(vertices=self.vertices, faces=self.faces)


def load_template(topology: str, *, body_file: Path | None = None) -> BodyTemplate:
    """Load a body in its canonical pose.

    Args:
        topology: one of TOPOLOGIES.
        body_file: the user's model file (npz) for "smpl", "smplh" and "smplx"; "anny" ships with the package.

    Raises:
        InputError: for an unknown name, a missing file, or a file with "anny".
        MeshError: when the file does not hold such a body.
    """
    if topology not in TOPOLOGIES:
        raise InputError("body", f"{topology!r} is none of {', '.join(TOPOLOGIES)}")
    if topology == "anny":
        if body_file is not None:
            raise InputError("body", "'anny' ships with the package and takes no file")
        from interactvlm.body.anny import load_anny

        return load_anny().template
    if body_file is None:
        raise InputError("body", f"{topology!r} needs the model file that you downloaded (npz)")
    from interactvlm.body.smpl import load_smpl

    return load_smpl(body_file, topology=topology)
