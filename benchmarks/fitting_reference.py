"""The official joint reconstruction, number for number, faults included: for parity tests and as a baseline only.

Where it is faulty (each kept, so that recorded results can be compared; `interactvlm.fitting` does otherwise):

- The initial translation takes the first two foreground pixels of the object mask for the mask's centre, and for
  depth the mean z of a body that has already been centred (about 0).
- ICP starts from the unmoved object, so that the initial translation has no effect, and never refreshes its
  correspondences: one assignment, one alignment without scale, and a second pass that finds nothing to improve.
- The filter of correspondences by normals removes none; all it does is zero object contact up to 0.3.
- The mask loss is 1 - I / (A + B) with the sum of areas for the union: a perfect match scores 0.5.
- The mask's centroid is compared in pixels squared: its weight depends on the photo's resolution.
- Contact is the mean distance over all pairs of all vertices.
- The scale is a parameter without a step, and the depth is rendered without entering any loss.

Frame: the photo's (x right, y down, z forward, metres), moved so that the body's surface centroid is the origin.
Row vectors: v' = (s v) R + t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.soft_silhouette import DEPTH_BACKGROUND, find_fragments, nearest_depth, soft_silhouette
from interactvlm.errors import InputError
from interactvlm.fitting.camera import PhotoCamera
from interactvlm.fitting.contact_points import BODY_THRESHOLD, OBJECT_THRESHOLD
from interactvlm.fitting.rotations import rotation_from_6d
from interactvlm.fitting.scene import FittingScene, surface_centroid
from interactvlm.geometry.mesh import Mesh

__all__ = [
    "ReleaseEnergy",
    "ReleaseIcp",
    "ReleaseScene",
    "RigidAlignment",
    "align_points",
    "contact_distance",
    "initial_translation",
    "mask_centroid",
    "normalized_depth",
    "opposing_correspondences",
    "prepare_scene",
    "release_energy",
    "release_icp",
]


_MASK_WEIGHT, _CENTROID_WEIGHT, _CONTACT_WEIGHT = 5.0, 1e-4, 10.0
_MAX_ITERATIONS = 10
_RELATIVE_CHANGE = 1e-6
_TO_PHOTO_AXES = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True, slots=True)
class RigidAlignment:
    """x' = x rotation + translation.

    Attributes:
        rotation: [3, 3], determinant +1.
        translation: [3], metres.
        rmse: root mean squared distance to the targets after alignment, metres; scalar tensor.
    """

    rotation: Tensor
    translation: Tensor
    rmse: Tensor


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


def opposing_correspondences(points: Tensor, normals: Tensor, target_points: Tensor, target_normals: Tensor) -> Tensor:
    """For each point, the target that is near and faces it: int64 [N].

    Nearest in six dimensions: position, and normal against the target's reversed normal, so that opposing surfaces
    cost |x - y|^2 and aligned ones |x - y|^2 + 4 (metres squared).

    Raises:
        InputError: when there is no target or a shape is wrong.
    """
    for name, values in (("points", points), ("normals", normals), ("targets", target_points)):
        if values.ndim != 2 or values.shape[1] != 3:
            raise InputError(name, f"has shape {list(values.shape)}, [N, 3] is needed")
    if not len(target_points):
        raise InputError("targets", "is empty: there is no contact to align with")
    cost = _squared(points, target_points) + _squared(normals, -target_normals)
    return cost.argmin(dim=1)


def align_points(source: Tensor, target: Tensor) -> RigidAlignment:
    """The least-squares rigid alignment of paired points (Umeyama, 1991).

    Args:
        source: [N, 3], N >= 3.
        target: [N, 3], row i is where row i of `source` should come to lie.

    Raises:
        InputError: when the shapes differ or fewer than three pairs are given.
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3 or len(source) < 3:
        shapes = f"{list(source.shape)} and {list(target.shape)}"
        raise InputError("source and target", f"have shapes {shapes}, both must be [N, 3] with N >= 3")
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    covariance = centred.T @ (target - target_mean) / len(source)
    u, _, vh = torch.linalg.svd(covariance)
    mirror = torch.ones(3, dtype=source.dtype, device=source.device)
    mirror[2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vh))
    rotation = (u * mirror) @ vh
    translation = target_mean - source_mean @ rotation
    error = source @ rotation + translation - target
    return RigidAlignment(rotation, translation, error.square().sum(1).mean().sqrt())


def contact_distance(
    object_points: Tensor, object_weights: Tensor, body_points: Tensor, body_weights: Tensor
) -> Tensor:
    """E_C: mean distance between object and body points over all pairs, weighted by both contact probabilities.

    Points without weight are left out before the distances are taken.

    Args:
        object_points: [N, 3], metres.
        object_weights: [N], contact probability.
        body_points: [V, 3], metres.
        body_weights: [V], contact probability.

    Raises:
        InputError: when one side has no contact.
    """
    on_object, on_body = object_weights > 0, body_weights > 0
    for name, used in (("object_weights", on_object), ("body_weights", on_body)):
        if not used.any():
            raise InputError(name, "has no contact above 0")
    weights = object_weights[on_object][:, None] * body_weights[on_body]
    distances = torch.cdist(object_points[on_object], body_points[on_body], compute_mode="donot_use_mm_for_euclid_dist")
    return (weights * distances).sum() / weights.sum()


def mask_centroid(mask: Tensor) -> Tensor:
    """Mean position of a mask [H, W] with values in [0, 1], as (row, column) of pixel indices, [2].

    An empty mask has its centroid at (0, 0), without gradient.
    """
    rows = torch.arange(mask.shape[0], dtype=mask.dtype, device=mask.device)
    columns = torch.arange(mask.shape[1], dtype=mask.dtype, device=mask.device)
    mass = mask.sum()
    centroid = torch.stack([mask.sum(1) @ rows, mask.sum(0) @ columns])
    return centroid / torch.where(mass > 0, mass, torch.ones_like(mass))


def normalized_depth(depth: Tensor, *, background: float) -> Tensor:
    """Depth [H, W] scaled to [0, 1] over the pixels that see the surface; `background` elsewhere."""
    seen = depth != background
    if not seen.any():
        return depth
    near, far = depth[seen].amin(), depth[seen].amax()
    scaled = (depth - near) / (far - near).clamp_min(torch.finfo(depth.dtype).eps)
    return torch.where(seen, scaled, depth)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
