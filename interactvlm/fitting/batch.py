"""The evidence of S scenes as tensors.

Legend: S scenes, P points a scene (padded with weight 0), R side of the crops. Objects are centred on the middle of
their bounding box, so that a pose's translation is where the object is and its rotation turns it about its middle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.body_distance import BodyDistance
from interactvlm.fitting.contact_points import BODY_THRESHOLD, OBJECT_THRESHOLD, ContactPoints, contact_points
from interactvlm.fitting.crop import crop_mask
from interactvlm.fitting.packed import PackedMeshes
from interactvlm.fitting.sampling import points_on_faces
from interactvlm.fitting.scene import FittingScene
from interactvlm.geometry.mesh import Mesh

__all__ = ["Contacts", "SceneBatch", "SizePrior"]

_SURFACE_POINTS = 512
"""Points of an object that are looked up in the body."""


@dataclass(frozen=True, slots=True)
class SizePrior:
    """How large things of this kind are: the largest extent of the bounding box, log-normal.

    Attributes:
        mean: metres.
        spread: standard deviation, metres.

    Raises:
        InputError: when one of them is not a positive number.
    """

    mean: float
    spread: float

    def __post_init__(self) -> None:
        if not (0 < self.mean < math.inf and 0 < self.spread < math.inf):
            raise InputError("size", f"is {self.mean} +- {self.spread} m, both must be greater than 0")

    @property
    def log_normal(self) -> tuple[float, float]:
        """Mean and standard deviation of the size's logarithm."""
        variance = math.log1p((self.spread / self.mean) ** 2)
        return math.log(self.mean) - variance / 2, math.sqrt(variance)


@dataclass(frozen=True, slots=True, eq=False)
class Contacts:
    """Contact points of S scenes.

    Attributes:
        points: float [S, P, 3], metres.
        normals: float [S, P, 3].
        weights: float [S, P], contact probability, 0 in padding.
    """

    points: Tensor
    normals: Tensor
    weights: Tensor


_Part: TypeAlias = Tensor | Contacts | PackedMeshes | BodyDistance


@dataclass(frozen=True, slots=True, eq=False)
class SceneBatch:
    """Evidence of S scenes.

    Attributes:
        meshes: the objects, centred.
        centre: float [S, 3], what was subtracted from their vertices.
        object_contacts: on the objects, centred as they are.
        body_contacts: on the bodies, in the photo's frame.
        surface: float [S, P, 3], points spread over the objects, centred as they are.
        body_distance: signed distances to the bodies.
        body_centre: float [S, 3], the mean of the body's vertices.
        target: float [S, R, R], see `crop.MaskCrop`.
        known: float [S, R, R].
        focal: float [S, 2], pixels of the crop.
        principal: float [S, 2].
        extent: float [S], the objects' largest extents in their own frame, metres at scale 1.
        log_size: float [S, 2], mean and standard deviation of the size prior's logarithm; the deviation is infinite
            where nothing is known.
    """

    meshes: PackedMeshes
    centre: Tensor
    object_contacts: Contacts
    body_contacts: Contacts
    surface: Tensor
    body_distance: BodyDistance
    body_centre: Tensor
    target: Tensor
    known: Tensor
    focal: Tensor
    principal: Tensor
    extent: Tensor
    log_size: Tensor

    @classmethod
    def build(
        cls,
        scenes: Sequence[FittingScene],
        sizes: Sequence[SizePrior | None],
        *,
        side: int,
        points: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> SceneBatch:
        """Crop masks, pick contact points and pack meshes.

        Args:
            scenes: S of them.
            sizes: S priors; None where nothing is known of an object's size.
            side: R, pixels.
            points: most contact points a surface.
            dtype: of all floating point tensors.
            device: where they are kept.

        Raises:
            InputError: when there is no scene, the numbers differ, a mask is empty or an object has no extent.
        """
        if not scenes or len(scenes) != len(sizes):
            raise InputError("scenes", f"are {len(scenes)} with {len(sizes)} sizes; equal numbers above 0 are needed")
        bounds = [scene.object_mesh.bounds.astype(np.float64) for scene in scenes]
        centres = [(low + high) / 2 for low, high in bounds]
        extents = [float((high - low).max()) for low, high in bounds]
        if min(extents) <= 0:
            raise InputError("object_mesh", f"of scene {int(np.argmin(extents))} has no extent")
        centred = [
            Mesh((scene.object_mesh.vertices - centre).astype(np.float32), scene.object_mesh.faces)
            for scene, centre in zip(scenes, centres, strict=True)
        ]
        crops = [crop_mask(scene.object_mask, scene.camera, side, hidden=scene.body_mask) for scene in scenes]
        on_objects = [
            contact_points(mesh, scene.object_contact, OBJECT_THRESHOLD, points)
            for mesh, scene in zip(centred, scenes, strict=True)
        ]
        on_bodies = [contact_points(scene.body, scene.body_contact, BODY_THRESHOLD, points) for scene in scenes]
        priors = [
            (math.log(extent), math.inf) if size is None else size.log_normal
            for extent, size in zip(extents, sizes, strict=True)
        ]

        def tensor(values: Sequence[object]) -> Tensor:
            return torch.as_tensor(np.asarray(values, dtype=np.float64), dtype=dtype, device=device)

        return cls(
            meshes=PackedMeshes.pack([(mesh.vertices, mesh.faces) for mesh in centred], dtype=dtype).to(device),
            centre=tensor(centres),
            object_contacts=_padded(on_objects, dtype, device),
            body_contacts=_padded(on_bodies, dtype, device),
            surface=tensor([_surface(mesh) for mesh in centred]),
            body_distance=BodyDistance.build([scene.body for scene in scenes], dtype=dtype, device=device),
            body_centre=tensor([scene.body.vertices.mean(axis=0, dtype=np.float64) for scene in scenes]),
            target=tensor([crop.target for crop in crops]),
            known=tensor([crop.known for crop in crops]),
            focal=tensor([crop.camera.focal for crop in crops]),
            principal=tensor([crop.camera.principal for crop in crops]),
            extent=tensor(extents),
            log_size=tensor(priors),
        )

    def __len__(self) -> int:
        return len(self.extent)

    def select(self, scenes: Sequence[int]) -> SceneBatch:
        """Only these scenes, in this order."""
        index = torch.tensor(list(scenes), dtype=torch.int64, device=self.extent.device)

        def pick(value: _Part) -> _Part:
            if isinstance(value, PackedMeshes):
                return value.select(scenes)
            if isinstance(value, BodyDistance):
                return value.select(index)
            if isinstance(value, Contacts):
                return Contacts(value.points[index], value.normals[index], value.weights[index])
            return value[index]

        return SceneBatch(**{field.name: pick(getattr(self, field.name)) for field in fields(self)})  # type: ignore[arg-type]


def _surface(mesh: Mesh) -> NDArray[np.float64]:
    corners, shares = points_on_faces(mesh.vertices, mesh.faces, _SURFACE_POINTS)
    if not len(corners):
        raise InputError("object_mesh", "has no surface: all of its faces have no area")
    points: NDArray[np.float64] = (mesh.vertices[corners] * shares[..., None]).sum(axis=1)
    return points


def _padded(found: Sequence[ContactPoints], dtype: torch.dtype, device: torch.device | str) -> Contacts:
    longest = max([1, *(len(one.weights) for one in found)])

    def stack(rows: Sequence[NDArray[np.float32]]) -> Tensor:
        padded = [np.pad(row, [(0, longest - len(row))] + [(0, 0)] * (row.ndim - 1)) for row in rows]
        return torch.as_tensor(np.stack(padded), dtype=dtype, device=device)

    return Contacts(
        stack([one.points for one in found]),
        stack([one.normals for one in found]),
        stack([one.weights for one in found]),
    )
