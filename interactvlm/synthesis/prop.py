"""An object on stage: its model, where it is, and its anchors in the world."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.objects.anchors import Anchor, ObjectModel
from interactvlm.synthesis.scene import PlacedObject

__all__ = ["Prop", "frame_of", "turned_about_y"]

Array = NDArray[np.float64]


def frame_of(normal: Array, direction: Array) -> Array:
    """Rotation [3, 3] whose columns are: across, along `direction` (made perpendicular), and `normal`."""
    normal = np.asarray(normal, dtype=np.float64) / np.linalg.norm(normal)
    along = np.asarray(direction, dtype=np.float64) - (direction @ normal) * normal
    length = float(np.linalg.norm(along))
    if length < 1e-6:
        along = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
        length = float(np.linalg.norm(along))
    along = along / length
    return np.stack([np.cross(along, normal), along, normal], axis=1)


def turned_about_y(degrees: float, place: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Array:
    """A pose [4, 4]: turned left by some degrees, then moved."""
    angle = np.radians(degrees)
    pose = np.eye(4)
    pose[0, 0] = pose[2, 2] = np.cos(angle)
    pose[0, 2], pose[2, 0] = np.sin(angle), -np.sin(angle)
    pose[:3, 3] = place
    return pose


class Prop:
    """One object.

    Args:
        model: what it is.
        pose: float64 [4, 4], world from object; standing at the origin by default.
        template: the interaction the person has with it, "" for none.
        affordance: PIAD's word for it.
    """

    def __init__(
        self, model: ObjectModel, pose: Array | None = None, *, template: str = "", affordance: str = ""
    ) -> None:
        self.model = model
        self.template, self.affordance = template, affordance
        self._pose = np.eye(4) if pose is None else pose
        self._triangles: Array | None = None

    @property
    def pose(self) -> Array:
        """float64 [4, 4], world from object."""
        return self._pose

    @pose.setter
    def pose(self, value: Array) -> None:
        self._pose, self._triangles = value, None

    @property
    def vertices(self) -> Array:
        """float64 [N, 3] in the world."""
        return self.model.mesh.vertices.astype(np.float64) @ self._pose[:3, :3].T + self._pose[:3, 3]

    @property
    def triangles(self) -> Array:
        """float64 [F, 3, 3] in the world."""
        if self._triangles is None:
            self._triangles = np.ascontiguousarray(self.vertices[self.model.mesh.faces])
        return self._triangles

    def has(self, *anchors: str) -> bool:
        """Whether it has all these anchors."""
        return all(name in self.model.anchors for name in anchors)

    def anchor(self, name: str) -> tuple[Array, Array, Array, float]:
        """Position, normal and direction in the world, and the radius."""
        anchor: Anchor = self.model.anchors[name]
        turn = self._pose[:3, :3]
        return (
            turn @ np.asarray(anchor.position, dtype=np.float64) + self._pose[:3, 3],
            turn @ np.asarray(anchor.normal, dtype=np.float64),
            turn @ np.asarray(anchor.direction, dtype=np.float64),
            float(anchor.radius),
        )

    def put(self, name: str, position: Array, normal: Array, direction: Array) -> None:
        """Place it so that an anchor lies at a position with its normal and direction as given."""
        anchor = self.model.anchors[name]
        own = frame_of(np.asarray(anchor.normal, float), np.asarray(anchor.direction, float))
        turn = frame_of(normal, direction) @ own.T
        pose = np.eye(4)
        pose[:3, :3] = turn
        pose[:3, 3] = position - turn @ np.asarray(anchor.position, dtype=np.float64)
        self.pose = pose

    def shift(self, offset: Array) -> None:
        """Move it."""
        pose = self._pose.copy()
        pose[:3, 3] += offset
        self.pose = pose

    def stand_on(self, height: float) -> None:
        """Move it up or down until its lowest point is at a height."""
        self.shift(np.array([0.0, height - self.vertices[:, 1].min(), 0.0]))

    def placed(self, world: Array, name: str) -> PlacedObject:
        """The result, moved by `world` [4, 4] and called `name`."""
        return PlacedObject(
            category=self.model.category,
            name=name,
            source=self.model.source,
            mesh=self.model.mesh,
            pose=world @ self._pose,
            template=self.template,
            affordance=self.affordance,
        )
