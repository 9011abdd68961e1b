"""Published numbers that stand beside ours (the paper's tables; F1, P, R in [0, 1], distances in centimetres).

PIAD's MAE is printed times ten in the paper; here it is as `affordance_scores` gives it. InteractVLM's DAMON numbers
of the paper put the true body-part words into the decoder; its authors' later numbers come from generation, as all of
ours do.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["DAMON_BINARY", "DAMON_CATEGORY_F1", "DAMON_GENERATED", "LEMON_BINARY", "PIAD_SEEN", "PIAD_UNSEEN"]

Row = Mapping[str, float]

DAMON_BINARY: Mapping[str, Row] = {
    "POSA": {"f1": 0.31, "precision": 0.42, "recall": 0.34, "geodesic_cm": 33.0},
    "BSTRO": {"f1": 0.46, "precision": 0.51, "recall": 0.53, "geodesic_cm": 38.1},
    "DECO": {"f1": 0.55, "precision": 0.65, "recall": 0.57, "geodesic_cm": 21.3},
    "InteractVLM (paper: true part words given)": {
        "f1": 0.756,
        "precision": 0.752,
        "recall": 0.760,
        "geodesic_cm": 2.89,
    },
}

DAMON_GENERATED: Mapping[str, Row] = {
    "InteractVLM (generated, with parts)": {"binary_f1": 0.703, "semantic_f1": 0.665},
    "InteractVLM (generated, simple)": {"binary_f1": 0.645, "semantic_f1": 0.610},
}

DAMON_CATEGORY_F1: Mapping[str, Row] = {
    "InteractVLM (paper: true part words given)": {
        "accessory": 0.611,
        "everyday-objects": 0.686,
        "food": 0.664,
        "furniture": 0.605,
        "kitchen": 0.718,
        "sports": 0.779,
        "transport": 0.778,
    },
    "Semantic-DECO": {
        "accessory": 0.401,
        "everyday-objects": 0.265,
        "food": 0.117,
        "furniture": 0.245,
        "kitchen": 0.277,
        "sports": 0.364,
        "transport": 0.520,
    },
}

LEMON_BINARY: Mapping[str, Row] = {
    "DECO": {"f1": 0.690},
    "LEMON-D": {"f1": 0.780, "geodesic_cm": 7.55},
    "InteractVLM": {"f1": 0.784, "geodesic_cm": 6.73},
}

PIAD_SEEN: Mapping[str, Row] = {
    "IAGNet": {"sim": 0.545, "auc": 0.8485, "aiou": 0.2051, "mae": 0.098},
    "InteractVLM": {"sim": 0.627, "auc": 0.8647, "aiou": 0.2120, "mae": 0.081},
}
PIAD_UNSEEN: Mapping[str, Row] = {
    "IAGNet": {"sim": 0.352, "auc": 0.7184, "aiou": 0.0795, "mae": 0.127},
    "InteractVLM": {"sim": 0.414, "auc": 0.7545, "aiou": 0.0850, "mae": 0.099},
}
