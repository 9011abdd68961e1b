from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from interactvlm.errors import InputError
from interactvlm.geometry.glb_bytes import painted_glb
from interactvlm.objects.anchors import object_for
from interactvlm.retrieval.mesh_store import MeshStore
from interactvlm.retrieval.retriever import ImageQuery
from interactvlm.retrieval.rows import RowFilter, TableRow
from interactvlm.retrieval.table_retriever import TableRetriever
from interactvlm.retrieval.vector_table import VectorTable


def filled(folder: Path) -> VectorTable:
    table = VectorTable(folder)
    rows = [TableRow(id=f"{kind}{k}", category=kind, extent_metres=k) for kind in ("cup", "kayak") for k in (0, 2)]
    table.add(rows, np.eye(4, 8))
    return table


def test_vectors_find_their_rows_without_a_made_up_confidence(tmp_path: Path) -> None:
    filled(tmp_path)
    retriever = TableRetriever(tmp_path)
    (answer,) = retriever.by_embedding(np.eye(4, 8)[2:3], limit=2)
    assert answer.hits[0].row.id == "kayak0"
    assert answer.hits[0].similarity == pytest.approx(1, abs=1e-3)
    assert answer.hits[0].confidence is None
    assert not answer.nothing_close
    (none,) = retriever.by_embedding(np.eye(1, 8), where=RowFilter(categories=frozenset({"door"})))
    assert none.hits == ()
    assert none.nothing_close
    assert len(retriever) == len(list(retriever.rows())) == 4
    assert retriever.by_embedding(np.zeros((0, 8), np.float32)) == []
    retriever.close()


def test_sizes_are_the_mesh_s_own_else_the_category_s_usual(tmp_path: Path) -> None:
    filled(tmp_path)
    retriever = TableRetriever(tmp_path)
    sizes = {hit.row.id: hit.size for hit in retriever.by_embedding(np.ones((1, 8)))[0].hits}
    assert (sizes["cup2"].source, sizes["cup2"].mean, sizes["cup2"].spread) == ("mesh", 2, 0)
    assert sizes["cup0"].source == "category"
    assert 0.05 < sizes["cup0"].mean < 0.3
    assert sizes["cup0"].spread > 0
    assert (sizes["kayak0"].source, sizes["kayak0"].mean) == ("", 0)
    retriever.close()


def test_a_newer_snapshot_is_taken_while_searches_run(tmp_path: Path) -> None:
    table = filled(tmp_path)
    retriever = TableRetriever(tmp_path)
    assert not retriever.refresh()
    first = retriever.version
    stop, errors = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            found = retriever.by_embedding(np.eye(1, 8), limit=1)[0].hits
            if [hit.row.id for hit in found] != ["cup0"]:
                errors.append(found)

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for k in range(5):
        table.add([TableRow(id=f"new{k}")], np.eye(1, 8, 7))
        assert retriever.refresh()
    stop.set()
    for reader in readers:
        reader.join()
    assert not errors
    assert retriever.version != first
    assert retriever.find("new4") == TableRow(id="new4")
    retriever.close()
    with pytest.raises(InputError, match="is closed"):
        retriever.by_embedding(np.eye(1, 8))


def test_queries_without_their_encoder_are_one_sentence(tmp_path: Path) -> None:
    filled(tmp_path)
    retriever = TableRetriever(tmp_path)
    retriever.warm()  # nothing to load
    mesh = object_for("generator/cup/0").mesh
    with pytest.raises(InputError, match="needs a query encoder"):
        retriever.by_text(["cup"])
    with pytest.raises(InputError, match="needs a query encoder"):
        retriever.by_image([ImageQuery(np.zeros((20, 20, 3), np.uint8))])
    with pytest.raises(InputError, match="needs a shape encoder"):
        retriever.by_shape([mesh])
    retriever.close()


def test_meshes_come_as_they_were_put(tmp_path: Path) -> None:
    filled(tmp_path)
    mesh = object_for("generator/cup/0").mesh
    assert mesh.vertex_colors is not None
    content = painted_glb(mesh.vertices, mesh.faces, mesh.vertex_colors / 255, licence="CC0-1.0")
    digest = MeshStore(tmp_path).put(content, file_type="glb")
    retriever = TableRetriever(tmp_path)
    assert retriever.mesh(digest).content == content
    assert retriever.thumbnail(digest, size=40).shape == (40, 40, 3)
    with pytest.raises(InputError, match="hexadecimal"):
        retriever.mesh("../" * 20)
    retriever.close()


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no table"):
        TableRetriever(tmp_path)
