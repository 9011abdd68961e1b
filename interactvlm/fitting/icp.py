"""Alignment of the object's contact with the body's, for S scenes x K initial rotations at once (paper section 5).

Unlike the release's: correspondences are found anew in every iteration and from both sides, pairs that do not face
each other are dropped, the scale is estimated, and several rotations are tried.
"""

from __future__ import annotations

import torch
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.batch import Contacts
from interactvlm.fitting.correspondence import facing_pairs
from interactvlm.fitting.poses import Poses

__all__ = ["align_contacts", "align_points"]

_CONVERGED = 1e-4
"""Metres; a start is done when no point moves farther in an iteration."""


def align_points(source: Tensor, target: Tensor, weights: Tensor, scale_range: Tensor) -> Poses:
    """The weighted least-squares similarity transform between paired points (Umeyama, 1991).

    The rotation and translation minimise `sum_i w_i |s x_i R + t - y_i|^2`; so does the scale, kept in its range.

    Args:
        source: [..., N, 3].
        target: [..., N, 3]; row i is where row i of `source` should come to lie.
        weights: [..., N], at least 0; where all are 0, nothing moves but the scale, into its range.
        scale_range: [..., 2], lowest and highest scale.

    Raises:
        InputError: when the shapes differ.
    """
    if source.shape != target.shape or source.shape[-1] != 3 or weights.shape != source.shape[:-1]:
        shapes = f"{list(source.shape)}, {list(target.shape)} and {list(weights.shape)}"
        raise InputError("source, target and weights", f"have shapes {shapes}: [..., N, 3] twice and [..., N] needed")
    total = weights.sum(-1, keepdim=True)
    share = (weights / torch.where(total > 0, total, 1))[..., None]
    source_mean, target_mean = (share * source).sum(-2, keepdim=True), (share * target).sum(-2, keepdim=True)
    centred = source - source_mean
    covariance = (share * centred).mT @ (target - target_mean)
    # In double precision: contact areas are nearly flat, and the third singular value nearly 0.
    u, strength, vh = torch.linalg.svd(covariance.double())
    mirror = torch.ones_like(strength)
    mirror[..., 2] = torch.linalg.det(u) * torch.linalg.det(vh)
    mirror = mirror.round()
    rotation = ((u * mirror[..., None, :]) @ vh).to(source.dtype)
    variance = (share * centred.square()).sum((-2, -1))
    scale = (strength * mirror).sum(-1).to(source.dtype) / variance.clamp_min(torch.finfo(source.dtype).tiny)
    scale = torch.where(variance > 0, scale, 1).clamp(scale_range[..., 0], scale_range[..., 1])
    translation = target_mean - scale[..., None, None] * (source_mean @ rotation)
    return Poses(rotation, translation[..., 0, :], scale)


def align_contacts(
    starts: Poses, on_object: Contacts, on_body: Contacts, scale_range: Tensor, *, iterations: int = 20
) -> Poses:
    """Move every start so that contacts meet, face to face.

    Args:
        starts: [S, K].
        on_object: of S scenes, in the object's frame.
        on_body: of S scenes, in the photo's frame.
        scale_range: [S, 2], lowest and highest scale.
        iterations: most of them.

    Returns:
        [S, K]; scenes without contact on one of the sides keep their starts.
    """
    if not iterations > 0:
        raise InputError("iterations", f"is {iterations}, at least 1 is needed")
    poses = starts
    limits = scale_range[:, None].expand(-1, starts.scale.shape[1], -1)
    own = on_object.points[:, None].expand(-1, starts.scale.shape[1], -1, -1)
    body = on_body.points[:, None].expand_as(own[:, :, :1].expand(-1, -1, on_body.points.shape[1], -1))
    touching = ((on_object.weights > 0).any(1) & (on_body.weights > 0).any(1))[:, None]
    moving = touching.expand_as(starts.scale).clone()
    for _ in range(iterations):
        points = poses.apply(own)
        pairs = facing_pairs(points, poses.turn(on_object.normals[:, None]), on_object.weights, on_body)
        source = torch.cat([own, _rows(own, pairs.of_body)], 2)
        target = torch.cat([_rows(body, pairs.of_object), body], 2)
        # Both sides count the same, however many points each has.
        weights = torch.cat([_share(pairs.object_weight), _share(pairs.body_weight)], 2)
        found = align_points(source, target, weights, limits)
        step = (found.apply(own) - points).norm(dim=-1).amax(-1)
        poses = _where(moving, found, poses)
        moving &= step > _CONVERGED
        if not moving.any():
            break
    return poses


def _rows(points: Tensor, index: Tensor) -> Tensor:
    return points.gather(2, index[..., None].expand(-1, -1, -1, 3))


def _share(weights: Tensor) -> Tensor:
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(total > 0, total, 1)


def _where(condition: Tensor, one: Poses, other: Poses) -> Poses:
    return Poses(
        torch.where(condition[..., None, None], one.rotation, other.rotation),
        torch.where(condition[..., None], one.translation, other.translation),
        torch.where(condition, one.scale, other.scale),
    )
