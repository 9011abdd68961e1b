"""Fit what `interactvlm/retrieval/confidence.py` ships: `python -m tools.fit_confidence [--views]`.

Space "catalogue-text": the queries are the categories' names and everyday words in phrases, each asked of the labels
without the word itself. Space "catalogue-views" (`--views`, some minutes; without it the file keeps what it says):
photographs of every object (`benchmarks.object_photos`), once with their masks and once with their boxes.

Each query is asked twice: of everything, and of everything but its category, where every hit is wrong. The model is
fitted on the five best categories of each; what the file says of its quality is measured by leaving out a fifth of the
categories at a time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.objects.categories import CATEGORIES
from interactvlm.retrieval.text_embedding import load_text_embedder

TARGET = Path(__file__).parents[1] / "interactvlm" / "assets" / "retrieval" / "confidence.json"
PHRASES = ("{}", "a {}", "person using a {}")
DEPTH = 5
FOLDS = 5
RIDGE = 1e-3
PHOTO_SEED = 10_000  # other photographs than the benchmark's


@dataclass(frozen=True)
class Examples:
    """Hits of known worth: features [N, 3] (1, similarity, margin), right [N], the query's category and number [N]."""

    features: NDArray[np.float64]
    right: NDArray[np.bool_]
    group: NDArray[np.int64]
    query: NDArray[np.int64]


def examples(similarity: NDArray[np.floating], meant: Sequence[set[int]]) -> Examples:
    """Hits of known worth.

    Args:
        similarity: [N, categories], of each query to each category.
        meant: the categories that each query means: "bag" may be a backpack or a handbag, both are right.
    """
    rows: list[tuple[float, float]] = []
    right: list[bool] = []
    group: list[int] = []
    query: list[int] = []
    for asked, wanted in enumerate(meant):
        for half, hidden in enumerate((set(), wanted)):
            seen = similarity[asked].astype(np.float64)
            seen[list(hidden)] = -np.inf
            order = np.argsort(-seen, kind="stable")[: DEPTH + 1]
            for place, number in enumerate(order[:DEPTH]):
                rival = seen[order[1]] if place == 0 else seen[order[0]]
                rows.append((seen[number], seen[number] - rival))
                right.append(int(number) in wanted)
                group.append(min(wanted))
                query.append(2 * asked + half)
    features = np.column_stack([np.ones(len(rows)), np.array(rows)])
    return Examples(features, np.array(right), np.array(group), np.array(query))


def text_examples() -> Examples:
    """Hits of the packaged text encoder."""
    embed = load_text_embedder()
    owners: dict[str, set[int]] = {}
    for number, entry in enumerate(CATEGORIES.values()):
        for word in (entry.name, *entry.synonyms):
            owners.setdefault(word, set()).add(number)
    words = list(owners)
    labels = embed(words)
    owned = [[place for place, word in enumerate(words) if number in owners[word]] for number in range(len(CATEGORIES))]
    similarity, meant = [], []
    for place, word in enumerate(words):
        for phrase in PHRASES:
            near = labels @ embed([phrase.format(word)])[0]
            near[place] = -1.0
            similarity.append([near[places].max() for places in owned])
            meant.append(owners[word])
    return examples(np.array(similarity), meant)


def view_examples() -> Examples:
    """Hits of rendered views."""
    from benchmarks.object_photos import photograph
    from interactvlm.config import load_settings
    from interactvlm.object_search import load_retriever
    from interactvlm.retrieval.catalogue_objects import catalogue_objects
    from interactvlm.retrieval.retriever import ImageQuery

    retriever = load_retriever(load_settings())
    names = list(CATEGORIES)
    dice = np.random.default_rng(PHOTO_SEED)
    similarity, meant = [], []
    for item in catalogue_objects():
        if not item.row.category:
            continue
        shot = photograph(item.mesh(), dice)
        for mask in (shot.mask, None):
            best = dict.fromkeys(names, -1.0)
            # As deep as answers go; categories behind that are no rivals.
            for hit in retriever.by_image([ImageQuery(shot.photo, shot.box, mask)], limit=100)[0].hits:
                if hit.row.category:
                    best[hit.row.category] = max(best[hit.row.category], hit.similarity)
            similarity.append(list(best.values()))
            meant.append({names.index(item.row.category)})
    return examples(np.array(similarity), meant)


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


def space(name: str, found: Examples) -> dict[str, Any]:
    """One entry of the file."""
    bias, similarity, margin = (round(float(weight), 4) for weight in fit(found.features, found.right))
    held_out = {"queries": int(found.query.max()) + 1, **quality(found)}
    return {"space": name, "bias": bias, "similarity": similarity, "margin": margin, "held_out": held_out}


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--views", action="store_true", help="fit the views too")
    options = parser.parse_args()
    spaces = [space("catalogue-text", text_examples())]
    if options.views:
        spaces.append(space("catalogue-views", view_examples()))
    else:
        shipped = json.loads(TARGET.read_text(encoding="utf-8"))["spaces"]
        spaces += [entry for entry in shipped if entry["space"] == "catalogue-views"]
    text = json.dumps({"spaces": spaces}, indent=2)
    options.target.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
