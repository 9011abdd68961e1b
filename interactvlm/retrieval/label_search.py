"""Text queries on the embedded catalogue: what things are called, exactly or nearly.

A text that names a known category, in whatever spelling, finds that category. Any other text is compared as a vector
with the categories' names, their everyday synonyms and the objects' own names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.objects.categories import CATEGORIES
from interactvlm.retrieval.names import canonical_name
from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.segments import unit_rows
from interactvlm.retrieval.text_embedding import TEXT_CHANNELS, TextEmbedder

__all__ = ["LabelScores", "LabelSearch", "labels_of"]

#: What an author called an object counts a little less than what its kind is called: "Table" is a dining table's name.
_OWN_NAME = np.float32(0.97)
#: Similarity of what else has exactly the name that names a category: behind all of the category.
_NAMED_OTHERWISE = np.float32(0.99)


@dataclass(frozen=True, slots=True, eq=False)
class LabelScores:
    """What one query is worth to every object.

    Attributes:
        similarity: float32 [objects], of the nearest of the object's labels.
        own_name: float32 [objects], of the object's own name: it orders the objects of one category.
        category: the category that the text names; "" where it names none, or for a vector.
    """

    similarity: NDArray[np.float32]
    own_name: NDArray[np.float32]
    category: str = ""


def labels_of(rows: Sequence[TableRow]) -> list[str]:
    """Every label of these objects, each once: categories, their everyday names, the objects' own names."""
    found = {row.name.lower() for row in rows}
    for kind in {row.category for row in rows} - {""}:
        found |= {kind, *_words(kind)}
    return sorted(word for word in found if word.strip())


class LabelSearch:
    """Labels of objects with their vectors; safe to use from several threads.

    Args:
        rows: the objects.
        vectors: float32 [labels, 384], of `labels_of(rows)`.
        embed: texts to vectors.
    """

    def __init__(self, rows: Sequence[TableRow], vectors: NDArray[np.float32], embed: TextEmbedder) -> None:
        place = {word: number for number, word in enumerate(labels_of(rows))}
        self._embed = embed
        self._vectors = vectors
        self._kinds = [row.category for row in rows]
        self._own = np.array([place.get(row.name.lower(), -1) for row in rows])
        self._labels = {
            kind: np.array([place[word] for word in (kind, *_words(kind))]) for kind in set(self._kinds) - {""}
        }

    def texts(self, texts: Sequence[str]) -> list[LabelScores]:
        """Score texts of 1 to 256 characters.

        Raises:
            InputError: a text is empty or too long.
        """
        found = []
        for text, vector in zip(texts, self._embed(texts), strict=True):
            scores = self._scores(vector)
            category = canonical_name(text)
            if category:
                named = np.array([kind == category for kind in self._kinds])
                others = np.minimum(scores.similarity, _NAMED_OTHERWISE)
                scores = LabelScores(np.where(named, np.float32(1), others), scores.own_name, category)
            found.append(scores)
        return found

    def vectors(self, vectors: NDArray[np.floating[Any]]) -> list[LabelScores]:
        """Score vectors [Q, 384] of the text encoder.

        Raises:
            InputError: they have another shape or are not finite.
        """
        unit = unit_rows(np.atleast_2d(vectors), field="embedding")
        if unit.shape[1] != TEXT_CHANNELS:
            raise InputError("embedding", f"has {unit.shape[1]} channels; the text encoder's have {TEXT_CHANNELS}")
        return [self._scores(vector) for vector in unit]

    def _scores(self, vector: NDArray[np.float32]) -> LabelScores:
        near = self._vectors @ vector
        own = np.where(self._own >= 0, near[self._own], np.float32(-1))
        best = {kind: near[labels].max() for kind, labels in self._labels.items()}
        kinds = np.array([best.get(kind, -1.0) for kind in self._kinds], np.float32)
        return LabelScores(np.maximum(kinds, _OWN_NAME * own).astype(np.float32), own.astype(np.float32))


def _words(kind: str) -> tuple[str, ...]:
    return CATEGORIES[kind].synonyms if kind in CATEGORIES else ()
