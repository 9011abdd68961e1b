"""How deep the object stands in the body.

    E = sum_i d_i^2 / (sum_i d_i + d_0),    d_i = max(0, -phi(v_i))

over points v_i spread over the object's surface, with the signed distance phi to the body (negative inside): the mean
depth in metres of what is inside, weighted by depth, so that it does not depend on how much of a large object is
elsewhere. d_0 lets it fade out near 0.
"""

from __future__ import annotations

from torch import Tensor

from interactvlm.fitting.body_distance import BodyDistance
from interactvlm.fitting.poses import Poses

__all__ = ["penetration_energy"]

_FADE = 0.01
"""d_0, metres."""


def penetration_energy(poses: Poses, surface: Tensor, body: BodyDistance) -> Tensor:
    """Mean depth of the object's points inside the body [S, K], metres.

    Args:
        poses: [S, K].
        surface: [S, P, 3], points on the objects, in their frames.
        body: of S scenes.
    """
    depth = (-body.at(poses.apply(surface[:, None]))).clamp_min(0)
    return depth.square().sum(-1) / (depth.sum(-1) + _FADE)
