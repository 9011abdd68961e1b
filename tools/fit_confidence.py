"""Fit what `interactvlm/retrieval/confidence.py` ships: `python -m tools.fit_confidence`.

Space "minilm": the table holds one row a category, its canonical name; the queries are its synonyms in everyday
phrases. Each query is asked twice: of the whole table, and of the table without its category, where every hit is wrong.
The model is fitted on the five best categories of each; what the file says of its quality is measured by leaving out a
fifth of the categories at a time.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactvlm.objects.categories import CATEGORIES
from interactvlm.retrieval.text_embedding import load_text_embedder

TARGET = Path(__file__).parents[1] / "interactvlm" / "assets" / "retrieval" / "confidence.json"
PHRASES = ("{}", "a {}", "person using a {}")
DEPTH = 5
FOLDS = 5
RIDGE = 1e-3


@dataclass(frozen=True)
class Examples:
    """Hits of known worth: features [N, 3] (1, similarity, margin), right [N], the query's category and number [N]."""

    features: NDArray[np.float64]
    right: NDArray[np.bool_]
    group: NDArray[np.int64]
    query: NDArray[np.int64]


def text_examples() -> Examples:
    """Hits of the packaged text encoder."""
    embed = load_text_embedder()
    names = list(CATEGORIES)
    table = embed(names)
    owners: dict[str, set[int]] = {}  # "bag" may mean a backpack or a handbag: both are right
    for number, entry in enumerate(CATEGORIES.values()):
        for word in (entry.name, *entry.synonyms):
            owners.setdefault(word, set()).add(number)
    rows: list[tuple[float, float]] = []
    right: list[bool] = []
    group: list[int] = []
    query: list[int] = []
    asked = 0
    for word, meant in owners.items():
        for phrase in PHRASES if word not in CATEGORIES else PHRASES[1:]:
            similarity = (table @ embed([phrase.format(word)])[0]).astype(np.float64)
            for hidden in (set(), meant):
                seen = similarity.copy()
                seen[list(hidden)] = -np.inf
                order = np.argsort(-seen, kind="stable")[: DEPTH + 1]
                for place, number in enumerate(order[:DEPTH]):
                    rival = seen[order[1]] if place == 0 else seen[order[0]]
                    rows.append((seen[number], seen[number] - rival))
                    right.append(int(number) in meant)
                    group.append(min(meant))
                    query.append(asked)
                asked += 1
    features = np.column_stack([np.ones(len(rows)), np.array(rows)])
    return Examples(features, np.array(right), np.array(group), np.array(query))


def fit(features: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights [3] of the logistic model, by Newton's method with a slight pull to 0."""
    weights = np.zeros(features.shape[1])
    for _ in range(50):
        predicted = probability(features, weights)
        gradient = features.T @ (predicted - right) + RIDGE * weights
        curvature = (features * (predicted * (1 - predicted))[:, None]).T @ features + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def probability(features: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(right) [N]."""
    return 1 / (1 + np.exp(-np.clip(features @ weights, -60, 60)))


def quality(examples: Examples) -> dict[str, float]:
    """Held-out quality: calibration error in ten equal bins, Brier score, and how often "nothing close" is right."""
    folds = np.random.default_rng(0).permutation(len(CATEGORIES)) % FOLDS
    predicted = np.zeros(len(examples.right))
    for fold in range(FOLDS):
        held = folds[examples.group] == fold
        predicted[held] = probability(examples.features[held], fit(examples.features[~held], examples.right[~held]))
    bins = np.minimum((10 * predicted).astype(int), 9)
    gaps = [(bins == b).mean() * abs(predicted[bins == b].mean() - examples.right[bins == b].mean()) for b in set(bins)]
    any_right = np.bincount(examples.query, examples.right) > 0
    nothing = np.bincount(examples.query, predicted) < 0.5
    return {
        "calibration_error": round(float(sum(gaps)), 4),
        "brier": round(float(np.mean((predicted - examples.right) ** 2)), 4),
        "nothing_close_when_hidden": round(float(nothing[~any_right].mean()), 4),
        "nothing_close_when_there": round(float(nothing[any_right].mean()), 4),
    }


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, default=TARGET)
    target: Path = parser.parse_args().target
    examples = text_examples()
    bias, similarity, margin = (round(float(weight), 4) for weight in fit(examples.features, examples.right))
    space = {"space": "minilm", "bias": bias, "similarity": similarity, "margin": margin}
    held_out = {"queries": int(examples.query.max()) + 1, **quality(examples)}
    text = json.dumps({"spaces": [{**space, "held_out": held_out}]}, indent=2)
    target.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
