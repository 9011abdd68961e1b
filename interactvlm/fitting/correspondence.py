"""Which contact point belongs to which: near, and facing each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interactvlm.fitting.batch import Contacts

__all__ = ["NORMAL_REACH", "Pairs", "facing_pairs"]

NORMAL_REACH = 0.1
"""Metres by which a point that faces the same way counts as farther than one that faces the opposite way."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Correspondences of S scenes x K starts, constants.

    Attributes:
        of_object: int64 [S, K, P], the body point of each object point.
        object_weight: [S, K, P], p_o p_h of that pair; 0 where it does not count.
        of_body: int64 [S, K, Q], the object point of each body point.
        body_weight: [S, K, Q].
    """

    of_object: Tensor
    object_weight: Tensor
    of_body: Tensor
    body_weight: Tensor


def facing_pairs(points: Tensor, normals: Tensor, weights: Tensor, on_body: Contacts) -> Pairs:
    """Pair every point with the one on the other side of least `|x - y|^2 + r^2 (1 + n_x n_y) / 2`.

    r is NORMAL_REACH. Pairs whose normals are less than 90 degrees apart are dropped: two surfaces that touch face
    each other. Where that would leave a start without any pair (normals may point inwards), all of its pairs count.

    Args:
        points: [S, K, P, 3], the posed object's contact.
        normals: [S, K, P, 3].
        weights: [S, P], 0 in padding.
        on_body: Q points a scene.
    """
    distance = torch.cdist(points, on_body.points[:, None].expand(-1, points.shape[1], -1, -1))
    alignment = normals @ on_body.normals[:, None].mT
    cost = distance.square() + NORMAL_REACH**2 / 2 * (1 + alignment)
    weight = weights[:, None, :, None] * on_body.weights[:, None, None, :]
    cost = cost.masked_fill(weight == 0, torch.inf)
    of_object, object_weight = _best(cost, alignment, weight, 3)
    of_body, body_weight = _best(cost, alignment, weight, 2)
    return Pairs(of_object, object_weight, of_body, body_weight)


def _best(cost: Tensor, alignment: Tensor, weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    index = cost.argmin(axis)
    at = index.unsqueeze(axis)
    found = weight.expand_as(cost).gather(axis, at).squeeze(axis)
    facing = found * (alignment.gather(axis, at).squeeze(axis) <= 0)
    return index, torch.where((facing > 0).any(-1, keepdim=True), facing, found)
