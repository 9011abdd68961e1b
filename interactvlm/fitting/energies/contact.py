"""E_C: how far the object's contact is from the body's.

    E = sum_(o, h) p_o p_h ||v_o - v_h|| / sum_(o, h) p_o p_h

over pairs (o, h) of an object and a body vertex in contact, metres. Every contact vertex is paired with the one on the
other side that it faces and is nearest to (`correspondence.facing_pairs`), from both sides with equal weight. (The
release sums over all pairs of all vertices: that draws every point to the middle of all the others, and has its minimum
where the contact areas' centres meet, whichever way they face.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from interactvlm.fitting.batch import Contacts
from interactvlm.fitting.correspondence import facing_pairs
from interactvlm.fitting.poses import Poses

__all__ = ["contact_energy"]

_SMOOTH = 1e-8
"""Keeps the distance differentiable at 0, squared metres."""


def contact_energy(poses: Poses, on_object: Contacts, on_body: Contacts) -> Tensor:
    """Weighted mean distance of contacts [S, K], metres; 0 where one of the sides has no contact.

    Args:
        poses: [S, K].
        on_object: of S scenes, in the object's frame.
        on_body: of S scenes, in the photo's frame.
    """
    points = poses.apply(on_object.points[:, None])
    with torch.no_grad():
        pairs = facing_pairs(points, poses.turn(on_object.normals[:, None]), on_object.weights, on_body)
    from_object = _mean_distance(points, _take(on_body.points, pairs.of_object), pairs.object_weight)
    from_body = _mean_distance(_gather(points, pairs.of_body), on_body.points[:, None], pairs.body_weight)
    return (from_object + from_body) / 2


def _mean_distance(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    distance = torch.sqrt((one - other).square().sum(-1) + _SMOOTH) - math.sqrt(_SMOOTH)
    total = weight.sum(-1)
    return (weight * distance).sum(-1) / torch.where(total > 0, total, 1)


def _take(points: Tensor, index: Tensor) -> Tensor:
    """Rows `index` [S, K, P] of points [S, Q, 3]."""
    return _gather(points[:, None].expand(-1, index.shape[1], -1, -1), index)


def _gather(points: Tensor, index: Tensor) -> Tensor:
    """Rows `index` [S, K, P] of points [S, K, Q, 3]."""
    return points.gather(2, index[..., None].expand(-1, -1, -1, 3))
