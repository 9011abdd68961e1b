"""A scene before it is rendered: posed people, placed objects, and what touches what.

The world is PyTorch3D's: metres, right-handed, +y up, the floor at y = 0. V = 10,066 vertices of the contact template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.mesh import Mesh

__all__ = ["GROUND", "PlacedObject", "PosedBody", "Scene"]

#: Name of the floor in contact labels.
GROUND = "ground"


@dataclass(frozen=True, slots=True, eq=False)
class PosedBody:
    """One person.

    Attributes:
        vertices: float32 [V, 3], the contact template posed, in the world.
        joints: float32 [104, 3], bone heads in the order of the rig, in the world.
        phenotype: the rig's shape values in [0, 1] ("age", "gender", "height", "weight", "muscle", "proportions").
        pose: bone name -> rotation vector in radians (the rig's local-ref convention), identity where missing.
    """

    vertices: NDArray[np.float32]
    joints: NDArray[np.float32]
    phenotype: Mapping[str, float]
    pose: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class PlacedObject:
    """One object where it stands.

    Attributes:
        category: canonical category name ("tennis racket").
        name: what a question calls it: the category or one of its everyday synonyms.
        source: how to build the mesh again: "catalogue/<id>" or "generator/<category>/<seed>".
        mesh: in its own frame, metres: +y up, +z its front, origin at the centre of its bounding box's floor.
        pose: float64 [4, 4], rigid, world from object, column vectors.
        template: the interaction the main person has with it ("hold_right"); "" where nobody touches it.
        affordance: PIAD's word for that interaction ("grasp"); "" where nobody touches it.
    """

    category: str
    name: str
    source: str
    mesh: Mesh
    pose: NDArray[np.float64]
    template: str = ""
    affordance: str = ""

    def world_vertices(self) -> NDArray[np.float32]:
        """float32 [N, 3]."""
        world = self.mesh.vertices.astype(np.float64) @ self.pose[:3, :3].T + self.pose[:3, 3]
        return world.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What one seed makes.

    Attributes:
        seed: of everything in it.
        people: the main person first.
        objects: touched ones first, then distractors.
        body_contacts: for the main person, sorted vertex ids int32 by index into `objects`; -1 is the ground. Objects
            that nobody touches have no entry.
        object_contacts: float32 [N] heat in [0, 1] on the object's own vertices, by index into `objects`.
        tags: facts that tables group by: "template", "hand" (left, right, both) and so on.
    """

    seed: int
    people: tuple[PosedBody, ...]
    objects: tuple[PlacedObject, ...]
    body_contacts: Mapping[int, NDArray[np.int32]]
    object_contacts: Mapping[int, NDArray[np.float32]]
    tags: Mapping[str, str] = field(default_factory=dict)
