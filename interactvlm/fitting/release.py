"""The official joint reconstruction, number for number, faults included. For parity only; build on the other modules.

Faults it reproduces, each so that recorded results can be compared:

- The initial translation takes the first two foreground pixels of the object mask for the mask's centre, and for
  depth the mean z of a body that has already been centred (about 0).
- ICP starts from the unmoved object, so that the initial translation has no effect, and never refreshes its
  correspondences: one assignment, one alignment, and a second pass that finds nothing to improve.
- The filter of correspondences by normals removes none; all it does is zero object contact up to 0.3.
- The mask loss is 1 - I / (A + B) with the sum of areas for the union: a perfect match scores 0.5.
- The scale is a parameter without a step, and the depth is rendered without entering any loss.

Frame: the photo's (x right, y down, z forward, metres), moved so that the body's surface centroid is the origin.
Row vectors: v' = (s v) R + t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.camera import PhotoCamera
from interactvlm.fitting.energies import contact_distance, mask_centroid, normalized_depth
from interactvlm.fitting.icp import RigidAlignment, align_points, opposing_correspondences
from interactvlm.fitting.rotation import rotation_from_6d
from interactvlm.fitting.scene import FittingScene, surface_centroid
from interactvlm.fitting.silhouette import DEPTH_BACKGROUND, find_fragments, nearest_depth, soft_silhouette
from interactvlm.geometry.mesh import Mesh

__all__ = [
    "BODY_THRESHOLD",
    "OBJECT_THRESHOLD",
    "ReleaseEnergy",
    "ReleaseIcp",
    "ReleaseScene",
    "initial_translation",
    "prepare_scene",
    "release_energy",
    "release_icp",
]

BODY_THRESHOLD = 0.5
"""Body vertices from here on are aligned with."""
OBJECT_THRESHOLD = 0.3
"""Object contact up to here is dropped."""

_MASK_WEIGHT, _CENTROID_WEIGHT, _CONTACT_WEIGHT = 5.0, 1e-4, 10.0
_MAX_ITERATIONS = 10
_RELATIVE_CHANGE = 1e-6
_TO_PHOTO_AXES = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True, slots=True)
class ReleaseScene:
    """The scene as the official fit sees it; float32 tensors.

    Attributes:
        body_vertices: [V, 3], centred.
        body_normals: [V, 3].
        body_offset: [3], what was subtracted from the body.
        body_contact: [V].
        object_vertices: [N, 3], centred on its own surface centroid and turned from y-up to the photo's axes.
        object_normals: [N, 3].
        object_faces: int64 [F, 3].
        object_contact: [N], values up to OBJECT_THRESHOLD zeroed.
        object_mask: [H, W], 0 or 1.
        camera: the photo's camera.
    """

    body_vertices: Tensor
    body_normals: Tensor
    body_offset: Tensor
    body_contact: Tensor
    object_vertices: Tensor
    object_normals: Tensor
    object_faces: Tensor
    object_contact: Tensor
    object_mask: Tensor
    camera: PhotoCamera


@dataclass(frozen=True, slots=True)
class ReleaseIcp:
    """Attributes: the alignment of each pass, in order, and whether the last one changed nothing any more."""

    history: tuple[RigidAlignment, ...]
    converged: bool


@dataclass(frozen=True, slots=True)
class ReleaseEnergy:
    """One evaluation of the official objective.

    Attributes:
        total: 5 mask + 1e-4 centroid + 10 contact.
        mask: overlap loss.
        centroid: squared distance of silhouette and mask centroids, pixels squared.
        contact: weighted mean distance of contacts, metres.
        object_vertices: [N, 3], posed.
        silhouette: [H, W].
        depth01: [H, W], depth scaled to [0, 1], -1 where nothing is seen; constant.
        silhouette_centroid: [2], (row, column).
        target_centroid: [2], (row, column).
    """

    total: Tensor
    mask: Tensor
    centroid: Tensor
    contact: Tensor
    object_vertices: Tensor
    silhouette: Tensor
    depth01: Tensor
    silhouette_centroid: Tensor
    target_centroid: Tensor


def prepare_scene(scene: FittingScene) -> ReleaseScene:
    """Centre body and object, and drop weak object contact."""
    offset = surface_centroid(scene.body)
    body = Mesh((scene.body.vertices - offset).astype(np.float32), scene.body.faces)
    turned = (scene.object_mesh.vertices - surface_centroid(scene.object_mesh)) * _TO_PHOTO_AXES
    item = Mesh(turned.astype(np.float32), scene.object_mesh.faces)
    contact = np.where(scene.object_contact > OBJECT_THRESHOLD, scene.object_contact, np.float32(0))
    return ReleaseScene(
        body_vertices=torch.tensor(body.vertices),
        body_normals=torch.tensor(body.vertex_normals),
        body_offset=torch.tensor(offset, dtype=torch.float32),
        body_contact=torch.tensor(scene.body_contact),
        object_vertices=torch.tensor(item.vertices),
        object_normals=torch.tensor(item.vertex_normals),
        object_faces=torch.tensor(item.faces, dtype=torch.int64),
        object_contact=torch.tensor(contact),
        object_mask=torch.tensor(scene.object_mask, dtype=torch.float32),
        camera=scene.camera,
    )


def initial_translation(scene: ReleaseScene) -> Tensor:
    """The official first guess of the object's translation [3], metres.

    Raises:
        InputError: when no body vertex is in contact.
    """
    touching = scene.body_contact >= BODY_THRESHOLD
    if not touching.any():
        raise InputError("body contact", f"has no vertex at or above {BODY_THRESHOLD}")
    first, second = scene.object_mask.nonzero()[:2].float().mean(1).tolist()
    depth = float(scene.body_vertices[touching, 2].mean())
    return torch.tensor(scene.camera.unproject(second, first, depth))


def release_icp(scene: ReleaseScene) -> ReleaseIcp:
    """The official alignment of object contact with body contact.

    Raises:
        InputError: when the body is untouched or fewer than three object vertices are in contact.
    """
    source, target = scene.object_contact > 0, scene.body_contact >= BODY_THRESHOLD
    points, targets = scene.object_vertices[source], scene.body_vertices[target]
    match = opposing_correspondences(points, scene.object_normals[source], targets, scene.body_normals[target])
    history: list[RigidAlignment] = []
    while len(history) < _MAX_ITERATIONS:
        history.append(align_points(points, targets[match]))
        if len(history) > 1:
            before, now = (float(step.rmse) for step in history[-2:])
            if abs(before - now) <= _RELATIVE_CHANGE * before:
                return ReleaseIcp(tuple(history), converged=True)
    return ReleaseIcp(tuple(history), converged=False)


def release_energy(scene: ReleaseScene, rotation_6d: Tensor, translation: Tensor, scale: Tensor) -> ReleaseEnergy:
    """The official objective at one pose, differentiable in the pose.

    Args:
        scene: from `prepare_scene`.
        rotation_6d: [6] or [1, 6].
        translation: [3], metres.
        scale: [1] or scalar.
    """
    rotation = rotation_from_6d(rotation_6d.reshape(6))
    vertices = scale * scene.object_vertices @ rotation + translation
    screen = scene.camera.project(vertices + scene.body_offset)
    height, width = scene.object_mask.shape
    fragments = find_fragments(screen, scene.object_faces, (height, width))
    silhouette = soft_silhouette(fragments, screen, scene.object_faces)
    area = silhouette.sum() + scene.object_mask.sum()
    mask = 1.0 - (silhouette * scene.object_mask).sum() / area
    ours, target = mask_centroid(silhouette), mask_centroid(scene.object_mask)
    centroid = (ours - target).square().sum()
    contact = contact_distance(vertices, scene.object_contact, scene.body_vertices, scene.body_contact)
    return ReleaseEnergy(
        total=_MASK_WEIGHT * mask + _CENTROID_WEIGHT * centroid + _CONTACT_WEIGHT * contact,
        mask=mask,
        centroid=centroid,
        contact=contact,
        object_vertices=vertices,
        silhouette=silhouette,
        depth01=normalized_depth(nearest_depth(fragments), background=DEPTH_BACKGROUND),
        silhouette_centroid=ours,
        target_centroid=target,
    )
