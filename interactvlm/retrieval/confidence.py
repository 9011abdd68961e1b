"""How far to trust a hit: cosines say nothing by themselves, so they are turned into measured probabilities.

A calibration belongs to one embedding space. It was fitted on queries whose answer is known, a part of them asking for
things that were taken out of the table, so that "nothing close" is an answer it knows (`tools/fit_confidence.py`).
Spaces without one have no confidence: a number nobody measured would be worse than none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.retrieval.search import Hit

__all__ = ["Calibration", "Rating", "calibration", "rate"]

_ASSET = ("assets", "retrieval", "confidence.json")
_NOTHING = 0.5  # more likely wrong than right
#: Best categories that are asked whether any is right: as many as the models were fitted on.
_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic model of P(a hit's category is the one asked for).

    Attributes:
        space: name of the embedding space.
        bias: log odds at similarity 0 without a rival.
        similarity: log odds per unit of the hit's cosine.
        margin: log odds per unit of its lead over the best hit of another category (negative when behind).
    """

    space: str
    bias: float
    similarity: float
    margin: float

    def probability(self, similarity: float, rival: float) -> float:
        """P(right), in [0, 1].

        Args:
            similarity: the hit's cosine.
            rival: the best cosine of another category.
        """
        odds = self.bias + self.similarity * similarity + self.margin * (similarity - rival)
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, odds))))


@dataclass(frozen=True, slots=True, eq=False)
class Rating:
    """What a list of hits is worth.

    Attributes:
        confidence: float64 [hits], P(the hit's category is the one asked for).
        nothing_close: True when more likely than not no category among the hits is the one asked for.
    """

    confidence: NDArray[np.float64]
    nothing_close: bool


def calibration(space: str) -> Calibration | None:
    """The shipped calibration of an embedding space ("catalogue-text"); None where there is none."""
    return _shipped().get(space)


def rate(hits: Sequence[Hit], by: Calibration) -> Rating:
    """Confidences of one query's hits; no hits are nothing close.

    Args:
        hits: nearest first, at least two categories deep where the table has as many (the rival decides).
        by: calibration of the space they were found in.
    """
    kinds = [hit.row.category or f"\0{hit.row.id}" for hit in hits]  # without a category, a kind of its own
    best: dict[str, float] = {}
    for kind, hit in zip(kinds, hits, strict=True):
        best.setdefault(kind, hit.similarity)
    leaders = list(best.items())[:2]

    def rival(kind: str) -> float:
        return next((similarity for other, similarity in leaders if other != kind), 0.0)

    confidence = np.array([by.probability(hit.similarity, rival(k)) for k, hit in zip(kinds, hits, strict=True)])
    any_right = sum(by.probability(similarity, rival(kind)) for kind, similarity in list(best.items())[:_DEPTH])
    return Rating(confidence.astype(np.float64), bool(any_right < _NOTHING))


@cache
def _shipped() -> dict[str, Calibration]:
    text = resources.files("interactvlm").joinpath(*_ASSET).read_text(encoding="utf-8")
    spaces: list[dict[str, Any]] = json.loads(text)["spaces"]
    return {
        entry["space"]: Calibration(entry["space"], entry["bias"], entry["similarity"], entry["margin"])
        for entry in spaces
    }
