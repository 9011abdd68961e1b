"""Exact search among 800,000 shapes: our index against sorting all scores, the reference's way.

The floor of one query is one pass over the table's bytes at the rate this machine reads memory with all cores
(`pass_s`). A second process, which only opens and searches, tells the memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import psutil
from numpy.typing import NDArray

from interactvlm.retrieval.rows import RowFilter, TableRow
from interactvlm.retrieval.search import TableSearcher
from interactvlm.retrieval.vector_table import VectorTable

_K = 10
_CHUNK = 20_000
_RARE = RowFilter(categories=frozenset({"rare"}))


@numba.njit(nogil=True, fastmath=True)
def _sum(words: NDArray[np.uint64]) -> np.uint64:
    total = np.uint64(0)
    for word in words:
        total += word
    return total


@numba.njit(parallel=True, nogil=True)
def _read(words: NDArray[np.uint64], sums: NDArray[np.uint64]) -> None:
    size = len(words) // len(sums)
    for part in numba.prange(len(sums)):
        sums[part] = _sum(words[part * size : (part + 1) * size])


def _best(call: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _fill(table: VectorTable, rows: int, dimension: int) -> NDArray[np.float16]:
    """Random directions; a hundredth of the rows is of a rare category."""
    dice = np.random.default_rng(7)
    vectors = np.empty((rows, dimension), np.float16)
    for start in range(0, rows, _CHUNK):
        block = dice.standard_normal((min(_CHUNK, rows - start), dimension), dtype=np.float32)
        vectors[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    table.add([TableRow(id=f"{i:07d}", category="rare" if i % 100 == 0 else "common") for i in range(rows)], vectors)
    return vectors


def _full_sort(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """Every score, sorted, for one query after the other."""
    return np.stack([np.argsort(-(vectors @ query))[:_K] for query in queries])


def _memory(folder: Path, dimension: int) -> dict[str, float]:
    """Run in a process of its own: seconds to open and answer first, and memory (shared pages of the table too)."""
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    searcher = TableSearcher(VectorTable(folder).open())
    opened = time.perf_counter() - began
    searcher.search(np.ones((1, dimension), np.float32), limit=_K)
    first = time.perf_counter() - began
    held = psutil.Process().memory_info().rss - before
    searcher.close()
    return {"open_s": opened, "first_answer_s": first, "held_bytes": float(held)}


def measure(folder: Path, *, rows: int, dimension: int, repeats: int) -> dict[str, Any]:
    """Everything, at one size."""
    table = VectorTable(folder)
    print("building the table", file=sys.stderr)
    vectors = _fill(table, rows, dimension)
    dice = np.random.default_rng(8)
    queries = dice.standard_normal((32, dimension), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    words, sums = vectors.view(np.uint64).ravel(), np.zeros(2 * numba.get_num_threads(), np.uint64)
    _read(words, sums)
    searcher = TableSearcher(table.open())
    pass_seconds, ours_1, filtered = [], [], []
    for _ in range(repeats):  # in turn, so that both see the same machine
        pass_seconds.append(_best(lambda: _read(words, sums), 2))
        ours_1.append(_best(lambda: searcher.search(queries[:1], limit=_K), 2))
        filtered.append(_best(lambda: searcher.search(queries[:1], limit=_K, where=_RARE), 2))
    ours_32 = _best(lambda: searcher.search(queries, limit=_K), 2)
    found = [[int(hit.row.id) for hit in hits] for hits in searcher.search(queries, limit=_K)]
    searcher.close()
    print("the reference", file=sys.stderr)
    wide = vectors.astype(np.float32)
    truth = _full_sort(wide, queries)
    reference_1 = _best(lambda: _full_sort(wide, queries[:1]), 2)
    reference_32 = _best(lambda: _full_sort(wide, queries), 1)
    command = [sys.executable, "-m", "benchmarks.retrieval", "--memory", str(folder), "--dimension", str(dimension)]
    memory = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    recall = np.mean([len(set(mine) & set(true.tolist())) / _K for mine, true in zip(found, truth, strict=True)])
    return {
        "rows": rows,
        "dimension": dimension,
        "cores": numba.get_num_threads(),
        "reference_1_s": reference_1,
        "ours_1_s": min(ours_1),
        "reference_32_s": reference_32,
        "ours_32_s": ours_32,
        "ratio": reference_1 / min(ours_1),
        "ratio_32": reference_32 / ours_32,
        "recall": float(recall),
        "pass_s": min(pass_seconds),
        "bytes_per_second": vectors.nbytes / min(pass_seconds),
        "pass_ratio": min(ours_1) / min(pass_seconds),
        "filtered_1_percent_s": min(filtered),
        "filtered_over_unfiltered": min(filtered) / min(ours_1),
        "memory_over_table": memory["held_bytes"] / vectors.nbytes,
        "open_s": memory["open_s"],
        "first_answer_s": memory["first_answer_s"],
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the default and only form")
    parser.add_argument("--quick", action="store_true", help="a small table, for smoke tests")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dimension", type=int, default=1280, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(json.dumps(_memory(options.memory, options.dimension)))
        return
    rows, repeats = (20_000, 2) if options.quick else (800_000, 5)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder) / "table", rows=rows, dimension=1280, repeats=repeats)))


if __name__ == "__main__":
    main()
