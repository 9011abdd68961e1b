"""Exact nearest neighbours by cosine: every row is compared, nothing is approximated (paper, supplementary).

The reference sorts the scores of all 800,000 shapes for each query. Here each thread passes once over its share of the
fp16 codes, in place, and keeps the k best; conditions on rows are tested before a row is read.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.retrieval.rows import RowFilter, TableRow, row_at
from interactvlm.retrieval.segments import unit_rows
from interactvlm.retrieval.snapshots import Snapshot

__all__ = ["MAX_HITS", "Hit", "Searcher", "ShardedSearcher", "TableSearcher"]

#: Its annotations describe the C++ constructors, not the Python ones.
_faiss: Any = faiss

MAX_HITS = 100
"""Most hits a query may ask for."""
#: Filters whose passing rows are remembered (one bit a row each).
_REMEMBERED = 64
#: A thread is not worth waking for fewer rows.
_ROWS_A_THREAD = 4096


@dataclass(frozen=True, slots=True)
class Hit:
    """One row found.

    Attributes:
        similarity: cosine in [-1, 1].
        row: the row.
    """

    similarity: float
    row: TableRow


class Searcher(Protocol):
    """Anything that finds nearest rows: one table, or several."""

    def search(
        self, queries: NDArray[np.floating[Any]], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[list[Hit]]:
        """The `limit` nearest rows of each query [Q, D], nearest first; fewer where fewer pass `where`."""
        ...


class TableSearcher:
    """Searches one snapshot on the processor.

    Safe to use from several threads. Hits of equal similarity come in the order of their ids.

    Args:
        snapshot: stays open as long as this.
        threads: passes run side by side; default every core.
    """

    def __init__(self, snapshot: Snapshot, *, threads: int | None = None) -> None:
        self.snapshot = snapshot
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, initializer=_one_thread_each, thread_name_prefix="search")
        self._bitmaps: OrderedDict[RowFilter, list[NDArray[np.uint8] | None]] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop the threads and let go of the snapshot."""
        self._pool.shutdown()
        self.snapshot.close()

    def search(
        self, queries: NDArray[np.floating[Any]], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[list[Hit]]:
        """See `Searcher`.

        Raises:
            InputError: a query is not finite, has another dimension, or `limit` is out of range.
        """
        if not 1 <= limit <= MAX_HITS:
            raise InputError("limit", f"is {limit}; it must be from 1 to {MAX_HITS}")
        unit = unit_rows(np.atleast_2d(queries), field="query")
        if self.snapshot.dimension is None:
            return [[] for _ in unit]
        if unit.shape[1] != self.snapshot.dimension:
            raise InputError("query", f"has {unit.shape[1]} channels; the table's have {self.snapshot.dimension}")
        bitmaps = self._passing(where or RowFilter())
        passes = [
            self._pool.submit(self._scan, number, begin, end, bitmaps[number], unit, limit)
            for number, begin, end in self._shares()
        ]
        found = [future.result() for future in passes]
        numbers = np.concatenate([np.full(ids.shape, number) for number, _, ids in found], axis=1)
        scores = np.concatenate([similarity for _, similarity, _ in found], axis=1)
        ids = np.concatenate([ids for _, _, ids in found], axis=1)
        return [self._hits(*triple, limit) for triple in zip(numbers, scores, ids, strict=True)]

    def _scan(
        self, number: int, begin: int, end: int, bitmap: NDArray[np.uint8] | None, unit: NDArray[np.float32], limit: int
    ) -> tuple[int, NDArray[np.float32], NDArray[np.int64]]:
        """One thread's pass over rows begin..end of one segment."""
        index = self.snapshot.segments[number].index
        selector = _faiss.IDSelectorRange(begin, end)
        if bitmap is not None:
            passing = _faiss.IDSelectorBitmap(bitmap)
            selector = _faiss.IDSelectorAnd(selector, passing)
        scores, ids = index.search(unit, min(limit, end - begin), params=_faiss.SearchParameters(sel=selector))
        return number, scores, ids

    def _shares(self) -> list[tuple[int, int, int]]:
        """(segment, begin, end): contiguous ranges of about equal size, one or more a thread."""
        total = sum(map(len, self.snapshot.segments))
        size = max(_ROWS_A_THREAD, -(-total // self._threads))
        return [
            (number, begin, min(begin + size, len(segment)))
            for number, segment in enumerate(self.snapshot.segments)
            for begin in range(0, len(segment), size)
        ]

    def _passing(self, where: RowFilter) -> list[NDArray[np.uint8] | None]:
        """One bit a row by segment; None where every row passes."""
        with self._lock:
            if where in self._bitmaps:
                self._bitmaps.move_to_end(where)
                return self._bitmaps[where]
        bitmaps: list[NDArray[np.uint8] | None] = []
        for segment, gone in zip(self.snapshot.segments, self.snapshot.removed, strict=True):
            if not where and not len(gone):
                bitmaps.append(None)
                continue
            passing = where.passing(segment.rows)
            passing[gone] = False
            bitmaps.append(np.packbits(passing, bitorder="little"))
        with self._lock:
            self._bitmaps[where] = bitmaps
            while len(self._bitmaps) > _REMEMBERED:
                self._bitmaps.popitem(last=False)
        return bitmaps

    def _hits(
        self, numbers: NDArray[np.int64], scores: NDArray[np.float32], ids: NDArray[np.int64], limit: int
    ) -> list[Hit]:
        real = np.flatnonzero(ids >= 0)
        order = real[np.argsort(-scores[real], kind="stable")][:limit]
        hits = [Hit(float(scores[i]), row_at(self.snapshot.segments[int(numbers[i])].rows, int(ids[i]))) for i in order]
        return _nearest(hits, limit)


class ShardedSearcher:
    """Several tables as one: for tables larger than a machine's memory, each shard anywhere.

    Args:
        shards: searchers of disjoint tables.
    """

    def __init__(self, shards: Sequence[Searcher]) -> None:
        self._shards = tuple(shards)
        self._pool = ThreadPoolExecutor(max(1, len(self._shards)), thread_name_prefix="shards")

    def close(self) -> None:
        """Stop the threads; the shards are the caller's."""
        self._pool.shutdown()

    def search(
        self, queries: NDArray[np.floating[Any]], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[list[Hit]]:
        """See `Searcher`; errors are the shards' own."""
        answers = list(self._pool.map(lambda shard: shard.search(queries, limit=limit, where=where), self._shards))
        return [_nearest([hit for hits in lists for hit in hits], limit) for lists in zip(*answers, strict=True)]


def _nearest(hits: list[Hit], limit: int) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.similarity, hit.row.id))[:limit]


def _one_thread_each() -> None:
    faiss.omp_set_num_threads(1)
