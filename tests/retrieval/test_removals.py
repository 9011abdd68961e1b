from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactvlm.errors import InputError
from interactvlm.retrieval.mesh_store import MeshStore
from interactvlm.retrieval.removals import remove_meshes
from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.vector_table import VectorTable


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Rows a and b share a mesh; c has one of its own, d none."""
    store = MeshStore(tmp_path)
    shared, own = store.put(b"one", file_type="obj"), store.put(b"two", file_type="glb")
    rows = [TableRow(id="a", mesh_sha256=shared), TableRow(id="b", mesh_sha256=shared)]
    VectorTable(tmp_path).add([*rows, TableRow(id="c", mesh_sha256=own)], np.eye(3, 4))
    VectorTable(tmp_path).add([TableRow(id="d")], np.eye(1, 4))
    return tmp_path


def ids(table: Path) -> list[str]:
    with VectorTable(table).open() as snapshot:
        return [row.id for row in snapshot.rows()]


def files(table: Path) -> set[str]:
    return {path.read_bytes().decode() for path in (table / "meshes").iterdir()}


def test_a_mesh_goes_with_its_last_row(table: Path) -> None:
    removed = remove_meshes(table, ["a", "absent"])
    assert (removed.ids, removed.version) == (("a",), 3)
    assert ids(table) == ["b", "c", "d"]
    assert files(table) == {"one", "two"}
    assert set(remove_meshes(table, ["b", "d", "c"]).ids) == {"b", "c", "d"}
    assert ids(table) == []
    assert files(table) == set()


def test_removing_nothing_changes_nothing(table: Path) -> None:
    assert remove_meshes(table, ["absent"]).version == 2
    assert remove_meshes(table, []).ids == ()
    assert VectorTable(table).version == 2
    remove_meshes(table, ["a"])
    assert remove_meshes(table, ["a"]).ids == ()  # gone rows are not found again


def test_only_hashes_name_files(table: Path) -> None:
    with pytest.raises(InputError, match="64 hexadecimal"):
        MeshStore(table).remove("../lock")
