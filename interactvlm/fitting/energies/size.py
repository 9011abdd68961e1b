"""The size prior: objects of a category are about as large as such things are.

    E = ((log(s L) - mu) / sigma)^2 / 2

with the scale s, the largest extent L of the object at scale 1, and the log-normal prior (mu, sigma) of its category:
the negative logarithm of the prior's density but for a constant.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["size_energy"]


def size_energy(scale: Tensor, extent: Tensor, log_size: Tensor) -> Tensor:
    """Negative log-density of the sizes, [S, K], no unit; 0 where the prior's deviation is infinite.

    Args:
        scale: [S, K].
        extent: [S], metres.
        log_size: [S, 2], mean and standard deviation of the logarithm.
    """
    mean, deviation = log_size.unbind(-1)
    return ((scale.log() + (extent.log() - mean)[:, None]) / deviation[:, None]).square() / 2
