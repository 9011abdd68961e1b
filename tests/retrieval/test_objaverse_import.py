from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.checkpoints.embedding_table import write_embedding_table
from interactvlm.errors import CheckpointError
from interactvlm.retrieval import json_entries as json_entries_module
from interactvlm.retrieval.json_entries import json_entries
from interactvlm.retrieval.objaverse import Imported, import_objaverse
from interactvlm.retrieval.rows import RowFilter, TableRow
from interactvlm.retrieval.search import TableSearcher
from interactvlm.retrieval.vector_table import VectorTable

IDS = [f"{i:032x}" for i in range(40)]


class Runs:
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, ("it_ran",)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    vectors = torch.randn(40, 16, generator=torch.Generator().manual_seed(0)).half()
    torch.save({"us": IDS, "feats": vectors}, tmp_path / "objaverse.pt")
    entries = [
        {"u": uid, "name": f"thing\n {i}", "tags": ["a"], "faces": 10 * i, "lic": "by-nc", "glb": f"glbs/0/{uid}.glb"}
        for i, uid in enumerate(IDS[:-1])
    ]
    entries[3] |= {"faces": "many", "lic": None, "name": "n" * 2000}
    (tmp_path / "meta.json").write_text(json.dumps({"entries": [*entries, {"u": "unknown"}]}))
    (tmp_path / "lvis.json.gz").write_bytes(
        gzip.compress(json.dumps({"tennis_racket": IDS[:2], "bat_(animal)": [IDS[2], "absent"]}).encode())
    )
    return tmp_path


def test_the_published_table_becomes_a_table(published: Path) -> None:
    folder = published / "table"
    steps: list[str] = []
    done = import_objaverse(
        published / "objaverse.pt",
        published / "meta.json",
        folder,
        labels=published / "lvis.json.gz",
        progress=steps.append,
    )
    assert done == Imported(rows=40, described=39, labelled=3, version=1)
    assert any("objaverse.pt" in step for step in steps)
    assert not list(folder.glob(".embeddings-*"))
    vectors = torch.load(published / "objaverse.pt", weights_only=True)["feats"].float().numpy()
    searcher = TableSearcher(VectorTable(folder).open(), threads=1)
    hits = [found[0] for found in searcher.search(vectors, limit=1)]
    assert [hit.row.id for hit in hits] == IDS
    assert min(hit.similarity for hit in hits) > 0.999
    assert hits[1].row == TableRow(
        id=IDS[1], category="tennis racket", name="thing 1", licence="CC-BY-NC-4.0", faces=10
    )
    assert hits[2].row.category == "bat (animal)"
    assert (hits[3].row.faces, hits[3].row.licence, len(hits[3].row.name)) == (0, "", 512)
    assert hits[-1].row == TableRow(id=IDS[-1])
    where = RowFilter(categories=frozenset({"tennis racket"}))
    assert {hit.row.id for hit in searcher.search(vectors[:1], where=where)[0]} == set(IDS[:2])
    searcher.close()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"us": IDS, "feats": Runs()}, "asks for posix.mkdir"),
        ({"us": IDS}, "holds no 'us' and 'feats'"),
        ([1], "holds no 'us' and 'feats'"),
        ({"us": IDS[:-1], "feats": torch.ones(40, 4)}, "39 ids, 39 of them different, for 40 vectors"),
        ({"us": [*IDS[:-1], IDS[0]], "feats": torch.ones(40, 4)}, "40 ids, 39 of them different"),
        ({"us": list(range(40)), "feats": torch.ones(40, 4)}, "list of ids"),
        ({"us": IDS, "feats": torch.ones(40, 4, dtype=torch.int32)}, "must hold float vectors"),
        ({"us": IDS, "feats": torch.ones(40)}, "must hold float vectors"),
        ({"us": IDS, "feats": torch.ones(1, 1).expand(40, 1 << 20)}, "more than the file can hold"),
    ],
)
def test_hostile_embeddings_are_refused(published: Path, content: Any, problem: str) -> None:
    torch.save(content, published / "bad.pt")
    with pytest.raises(CheckpointError, match=problem):
        write_embedding_table(published / "bad.pt", published, ids="us", vectors="feats")
    assert not Path("it_ran").exists()


def test_a_refused_table_leaves_nothing(published: Path) -> None:
    torch.save({"us": IDS, "feats": Runs()}, published / "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad\.pt: is refused"):
        import_objaverse(published / "bad.pt", published / "meta.json", published / "table")
    assert not list((published / "table").iterdir())


@pytest.mark.parametrize("name", ["absent.pt", "meta.json"])
def test_files_of_another_kind_are_named(published: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=name):
        import_objaverse(published / name, published / "meta.json", published / "table")


@pytest.mark.parametrize("text", ["", "{}", '{"entries": [{"u": 1}', "[1]", '[{"u": }]', "[" * 100_000, "\xff"])
def test_broken_metadata_is_refused(published: Path, text: str) -> None:
    (published / "broken.json").write_bytes(text.encode("latin1"))
    with pytest.raises(CheckpointError, match=r"broken\.json"):
        list(json_entries(published / "broken.json"))


@settings(max_examples=40, deadline=None)
@given(
    entries=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=30) | st.integers(), max_size=3)),
    chunk=st.integers(12, 80),
    wrapped=st.booleans(),
)
def test_entries_in_pieces_equal_the_whole(tmp_path_factory, entries, chunk: int, wrapped: bool) -> None:
    path = tmp_path_factory.mktemp("json") / "entries.json"
    path.write_text(json.dumps({"entries": entries} if wrapped else entries, indent=1 if chunk % 2 else None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_entries_module, "_CHUNK", max(chunk, 16))
        assert list(json_entries(path)) == entries
