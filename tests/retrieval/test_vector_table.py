from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactvlm.errors import CheckpointError, InputError
from interactvlm.retrieval.rows import RowFilter, TableRow
from interactvlm.retrieval.search import ShardedSearcher, TableSearcher
from interactvlm.retrieval.vector_table import VectorTable

D = 24


def make_rows(count: int, *, prefix: str = "row") -> list[TableRow]:
    kinds = ("chair", "cup", "")
    return [
        TableRow(
            id=f"{prefix}{i}",
            category=kinds[i % 3],
            licence="CC0-1.0" if i % 2 else "CC-BY-4.0",
            faces=100 * i,
            extent_metres=0.1 * i,
        )
        for i in range(count)
    ]


def make_vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)


def nearest(vectors: np.ndarray, query: np.ndarray, limit: int, passing: np.ndarray | None = None) -> list[int]:
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    scores = unit @ (query / np.linalg.norm(query))
    if passing is not None:
        scores[~passing] = -np.inf
    order = np.argsort(-scores)[:limit]
    return [int(i) for i in order if np.isfinite(scores[i])]


@pytest.fixture
def table(tmp_path: Path) -> VectorTable:
    return VectorTable(tmp_path / "table")


@pytest.mark.parametrize("threads", [1, 3])
def test_search_is_exact_over_segments_and_threads(table: VectorTable, threads: int, monkeypatch) -> None:
    monkeypatch.setattr("interactvlm.retrieval.search._ROWS_A_THREAD", 50)
    vectors, rows = make_vectors(500), make_rows(500)
    for start in (0, 180, 200):
        stop = {0: 180, 180: 200, 200: 500}[start]
        table.add(rows[start:stop], vectors[start:stop])
    searcher = TableSearcher(table.open(), threads=threads)
    queries = make_vectors(7, seed=1)
    for query, hits in zip(queries, searcher.search(queries, limit=10), strict=True):
        assert [hit.row.id for hit in hits] == [f"row{i}" for i in nearest(vectors, query, 10)]
        assert all(a.similarity >= b.similarity for a, b in pairwise(hits))
    searcher.close()


@pytest.mark.parametrize(
    "where",
    [
        RowFilter(categories=frozenset({"chair"})),
        RowFilter(categories=frozenset({"chair", "cup"}), licences=frozenset({"CC0-1.0"})),
        RowFilter(max_faces=4000),
        RowFilter(extent_metres=(1.0, 2.0)),
        RowFilter(categories=frozenset({"piano"})),
    ],
)
def test_conditions_hold_inside_the_search(table: VectorTable, where: RowFilter) -> None:
    vectors, rows = make_vectors(120), make_rows(120)
    table.add(rows[:70], vectors[:70])
    table.add(rows[70:], vectors[70:])
    passing = np.array(
        [
            (not where.categories or row.category in where.categories)
            and (not where.licences or row.licence in where.licences)
            and (not where.max_faces or 0 < row.faces <= where.max_faces)
            and (where.extent_metres is None or where.extent_metres[0] <= row.extent_metres <= where.extent_metres[1])
            for row in rows
        ]
    )
    searcher = TableSearcher(table.open())
    query = make_vectors(1, seed=2)
    (hits,) = searcher.search(query, limit=20, where=where)
    assert [hit.row for hit in hits] == [rows[i] for i in nearest(vectors, query[0], 20, passing)]
    assert [hit.row for hit in searcher.search(query, limit=20, where=where)[0]] == [hit.row for hit in hits]
    searcher.close()


def test_a_row_added_again_takes_the_old_ones_place(table: VectorTable) -> None:
    vectors = make_vectors(4)
    table.add(make_rows(3), vectors[:3])
    table.add([TableRow(id="row1", name="new")], vectors[3:])
    with table.open() as snapshot:
        assert len(snapshot) == 3
    searcher = TableSearcher(table.open())
    (hits,) = searcher.search(vectors[3:], limit=3)
    assert [hit.row.id for hit in hits].count("row1") == 1
    assert hits[0].row == TableRow(id="row1", name="new")
    assert hits[0].similarity == pytest.approx(1, abs=1e-3)
    searcher.close()


def test_compacting_changes_no_answer(table: VectorTable) -> None:
    vectors, rows = make_vectors(60), make_rows(60)
    table.add(rows[:30], vectors[:30])
    table.add(rows[30:], vectors[30:])
    table.remove([f"row{i}" for i in range(5, 45)] + ["no such row"])
    queries = make_vectors(5, seed=3)
    before = TableSearcher(table.open())
    old = before.search(queries, limit=30)
    table.compact()
    after = TableSearcher(table.open())
    assert after.search(queries, limit=30) == old
    assert len(after.snapshot.segments) == 1
    assert len(after.snapshot) == 20
    assert before.search(queries, limit=30) == old  # files of an open snapshot stay
    before.close()
    after.close()
    assert table.compact() == table.version


def test_old_versions_are_cleaned_once_nobody_reads_them(table: VectorTable, tmp_path: Path) -> None:
    first = make_vectors(3)
    table.add(make_rows(3), first)
    reader = table.open()
    for number in range(5):
        table.add(make_rows(3, prefix=f"more{number}-"), make_vectors(3, seed=number))
    assert len(reader) == 3
    with table.open(reader.version) as again:
        assert again.version == 1
    reader.close()
    table.compact()
    table.compact()
    table.add(make_rows(1, prefix="last"), make_vectors(1))
    table.remove(["last0"])
    with pytest.raises(InputError, match="version: is 1; the table has"):
        table.open(1)
    assert len(list((tmp_path / "table" / "segments").iterdir())) == 2


def test_removing_everything_leaves_an_empty_table_of_any_dimension(table: VectorTable) -> None:
    table.add(make_rows(2), make_vectors(2))
    table.remove(["row0", "row1"])
    searcher = TableSearcher(table.open())
    assert searcher.search(np.ones((1, 3), np.float32)) == [[]]
    searcher.close()
    table.add(make_rows(1), np.ones((1, 3), np.float32))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((2, D), np.nan, np.float32), "row 0 has length nan"),
        (np.zeros((2, D), np.float32), "row 0 has length 0.0"),
        (np.ones((2, D + 1), np.float32), f"the table's have {D} channels"),
        (np.ones((3, D), np.float32), "for 2 rows"),
        (np.ones(D, np.float32), "is needed"),
    ],
)
def test_malformed_vectors_leave_the_table_as_it_was(table: VectorTable, vectors, message, tmp_path: Path) -> None:
    table.add(make_rows(2), make_vectors(2))
    files = sorted(str(p) for p in (tmp_path / "table").rglob("*"))
    with pytest.raises(InputError, match=message):
        table.add(make_rows(2, prefix="other"), vectors)
    assert sorted(str(p) for p in (tmp_path / "table").rglob("*")) == files


@pytest.mark.parametrize(
    "rows",
    [
        [TableRow(id="a"), TableRow(id="a")],
        [TableRow(id="a"), TableRow(id="")],
        [TableRow(id="a"), TableRow(id="b", faces=-1)],
        [TableRow(id="a"), TableRow(id="b", extent_metres=float("nan"))],
        [TableRow(id="a"), TableRow(id="b", name="x" * 513)],
    ],
)
def test_malformed_rows_are_refused(table: VectorTable, rows) -> None:
    with pytest.raises(InputError, match=r"rows\[1\]"):
        table.add(rows, make_vectors(2))
    assert table.version == 0


@pytest.mark.parametrize(("query", "limit"), [(np.full(D, np.inf), 5), (np.ones(D + 1), 5), (np.ones(D), 0)])
def test_malformed_queries_are_refused(table: VectorTable, query, limit) -> None:
    table.add(make_rows(2), make_vectors(2))
    searcher = TableSearcher(table.open())
    with pytest.raises(InputError):
        searcher.search(query, limit=limit)
    searcher.close()


@pytest.mark.parametrize("name", ["vectors.faiss", "rows.arrow"])
def test_a_damaged_segment_is_told_by_name(table: VectorTable, tmp_path: Path, name: str) -> None:
    table.add(make_rows(20), make_vectors(20))
    (path,) = (tmp_path / "table" / "segments").glob(f"*/{name}")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(CheckpointError, match="is damaged"):
        table.open()


def test_shards_answer_as_one_table(tmp_path: Path) -> None:
    vectors, rows = make_vectors(90), make_rows(90)
    whole = VectorTable(tmp_path / "whole")
    whole.add(rows, vectors)
    shards = []
    for number in range(3):
        shard = VectorTable(tmp_path / f"shard{number}")
        shard.add(rows[number::3], vectors[number::3])
        shards.append(TableSearcher(shard.open(), threads=1))
    one, several = TableSearcher(whole.open()), ShardedSearcher(shards)
    queries = make_vectors(4, seed=5)
    assert several.search(queries, limit=15) == one.search(queries, limit=15)
    for searcher in (one, several, *shards):
        searcher.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "compact"]), st.sets(st.integers(0, 15), min_size=1)), max_size=8
    )
)
def test_any_history_equals_a_dictionary(tmp_path_factory, history) -> None:
    table, truth = VectorTable(tmp_path_factory.mktemp("any") / "table"), {}
    for step, (kind, numbers) in enumerate(history):
        ids = [f"id{i}" for i in sorted(numbers)]
        if kind == "add":
            vectors = make_vectors(len(ids), seed=step)
            table.add([TableRow(id=i, name=str(step)) for i in ids], vectors)
            truth |= {i: (str(step), v) for i, v in zip(ids, vectors, strict=True)}
        elif kind == "remove":
            table.remove(ids)
            for i in ids:
                truth.pop(i, None)
        else:
            table.compact()
    searcher = TableSearcher(table.open())
    (hits,) = searcher.search(np.ones((1, D), np.float32), limit=100)
    assert {hit.row.id: hit.row.name for hit in hits} == {i: name for i, (name, _) in truth.items()}
    searcher.close()
