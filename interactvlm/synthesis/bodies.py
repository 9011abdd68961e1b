"""Drawing people: every phenotype of the rig, as a street shows them."""

from __future__ import annotations

import numpy as np

from interactvlm.body.rig import ShapedBody, load_rig

__all__ = ["draw_body", "draw_phenotype"]

# Share of people, and the range of the rig's age: children, teenagers, adults, the elderly.
_AGES = ((0.12, 0.28, 0.42), (0.1, 0.45, 0.58), (0.58, 0.62, 0.78), (0.2, 0.82, 1.0))


def draw_phenotype(rng: np.random.Generator, *, adult: bool = False) -> dict[str, float]:
    """Shape values of one random person; `adult` leaves children out."""
    shares = np.array([share for share, _, _ in _AGES])
    if adult:
        shares[0] = 0.0
    _, youngest, oldest = _AGES[rng.choice(len(_AGES), p=shares / shares.sum())]
    female = bool(rng.random() < 0.5)
    return {
        "gender": float(np.clip((0.92 if female else 0.08) + rng.normal(0, 0.06), 0, 1)),
        "age": float(rng.uniform(youngest, oldest)),
        "muscle": float(np.clip(rng.normal(0.5 if female else 0.58, 0.16), 0.05, 0.98)),
        "weight": float(np.clip(rng.normal(0.5, 0.19), 0.05, 0.98)),
        # At 0.40 an average adult is 1.73 m tall, at 0.45 about 1.79 m.
        "height": float(np.clip(rng.normal(0.36 if female else 0.42, 0.055), 0.2, 0.6)),
        "proportions": float(rng.uniform(0.2, 0.85)),
    }


def draw_body(rng: np.random.Generator, *, adult: bool = False) -> ShapedBody:
    """One random person's body."""
    return load_rig().shape(draw_phenotype(rng, adult=adult))
