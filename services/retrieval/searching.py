"""What the retrieval stage computes for a batch: queries of one kind under one filter are one pass over the table."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interactvlm.errors import InputError
from interactvlm.retrieval.names import canonical_name
from interactvlm.retrieval.retriever import Answer, Retriever
from interactvlm.retrieval.rows import RowFilter

__all__ = ["COSTS", "Found", "Item", "Query", "search_batch"]

#: What a query costs by its kind, in texts.
COSTS = {"text": 1.0, "embedding": 1.0, "crop": 8.0, "points": 16.0, "mesh": 16.0}
_METHODS = {"text": "text", "embedding": "embedding", "crop": "image", "points": "shape", "mesh": "shape"}


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One caller's query, decoded.

    Attributes:
        kind: the message's field: "text", "embedding", "crop", "points" or "mesh".
        value: what a `Retriever` takes for it.
        limit: hits wanted.
        where: conditions on hits.
        nbytes: what the value takes in memory.
    """

    kind: str
    value: Any
    limit: int
    where: RowFilter
    nbytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A query and where to look.

    Attributes:
        query: what for.
        tables: what everybody finds and, where there is one, the owner's own table.
    """

    query: Query
    tables: tuple[Retriever, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """An answer.

    Attributes:
        answer: over all tables.
        version: of each of them.
    """

    answer: Answer
    version: str


def search_batch(items: Sequence[Item]) -> list[Found | BaseException]:
    """Search for many callers, on the worker's thread.

    An error is raised, for the batcher to find out whose it is, unless a single item caused it.
    """
    results: dict[int, Found | BaseException] = {}
    groups: dict[Hashable, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(_kinship(item), []).append(index)
    for indices in groups.values():
        try:
            results.update(zip(indices, _search_group([items[i] for i in indices]), strict=True))
        except Exception as error:
            if len(items) > 1:
                raise
            results[indices[0]] = _named(error, items[0].query)
    return [results[i] for i in range(len(items))]


def _kinship(item: Item) -> Hashable:
    query = item.query
    channels = query.value.shape if query.kind == "embedding" else ()
    return (_METHODS[query.kind], channels, query.limit, query.where, tuple(map(id, item.tables)))


def _search_group(items: Sequence[Item]) -> list[Found]:
    first = items[0].query
    values: Any = [item.query.value for item in items]
    if first.kind == "embedding":
        values = np.stack(values)
    method = _METHODS[first.kind]
    shared, *own = items[0].tables
    version = "+".join(table.version for table in items[0].tables)
    if not own:
        answers = getattr(shared, f"by_{method}")(values, limit=first.limit, where=first.where)
        return [Found(answer, version) for answer in answers]
    # Encoded once for all tables, which are of one space.
    vectors = values if method == "embedding" else getattr(shared, f"{method}_vectors")(values)
    lists = [table.by_embedding(vectors, limit=first.limit, where=first.where) for table in (shared, *own)]
    named = [canonical_name(value) if method == "text" else "" for value in values]
    return [Found(_merged(answers, first.limit, name), version) for name, *answers in zip(named, *lists, strict=True)]


def _merged(answers: Sequence[Answer], limit: int, category: str) -> Answer:
    """The answers of several tables as one; what stands in both counts once."""
    hits = sorted((hit for answer in answers for hit in answer.hits), key=lambda hit: (-hit.similarity, hit.row.id))
    once = {hit.row.id: hit for hit in reversed(hits)}  # the best of equals stays
    return Answer(
        hits=tuple(hit for hit in hits if once[hit.row.id] is hit)[:limit],
        nothing_close=all(answer.nothing_close for answer in answers),
        category=category,
    )


def _named(error: Exception, query: Query) -> Exception:
    """An error of the library about the query, in the words of the message."""
    if isinstance(error, InputError):
        return type(error)(query.kind, error.problem)
    return error
