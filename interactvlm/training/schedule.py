"""The learning rate over a run."""

from __future__ import annotations

import math

__all__ = ["rate_factor"]


def rate_factor(step: int, warmup: int, steps: int, final: float) -> float:
    """Share of the full learning rate at a step: a linear rise, then half a cosine down to `final`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
