from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from interactvlm.retrieval import shape_encoder
from interactvlm.retrieval.mesh_store import MeshStore
from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.vector_table import VectorTable

Run = Callable[..., Any]
SMALL = shape_encoder.ShapeEncoderConfig(
    width=16, depth=1, heads=2, head_width=8, mlp_width=24, group_width=12, groups=20, group_size=8, embedding=10
)


def test_the_packaged_catalogue_is_listed_and_shown(run_command: Run) -> None:
    told = run_command("catalogue", "list", "--category", "Sofas")
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines
    assert all("  couch  " in line and "CC0-1.0" in line for line in lines)
    row_id = lines[0].split("  ")[0]
    shown = json.loads(run_command("catalogue", "show", row_id, "--json").out)
    assert shown["id"] == row_id
    assert shown["category"] == "couch"
    assert shown["author"]
    assert f"id: {row_id}" in run_command("catalogue", "show", row_id).out
    assert len(json.loads(run_command("catalogue", "list", "--limit", "3", "--json").out)) == 3


@pytest.fixture
def small_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = shape_encoder.ShapeEncoder(config=SMALL).eval()
    monkeypatch.setattr(shape_encoder, "load_shape_encoder", lambda folder: encoder)


@pytest.mark.usefixtures("small_encoder")
def test_meshes_are_added_and_bad_ones_named(run_command: Run, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for name, size in (("red_racket", 1), ("blue racket", 2)):
        trimesh.creation.box((size, 0.1, 0.2)).export(tmp_path / "new" / f"{name}.glb")
    (tmp_path / "new" / "broken.glb").write_bytes(b"glTF")
    table = tmp_path / "table"
    arguments = ("catalogue", "add", tmp_path / "new", "--table", table, "--encoder", tmp_path)
    told = run_command(*arguments, "--category", "tennis_rackets", "--licence", "CC0-1.0", "--metres")
    assert told.code == 0
    assert "added 2 of 3 meshes" in told.out
    assert "left out" in told.out
    assert "broken.glb" in told.out
    rows = json.loads(run_command("catalogue", "list", "--table", table, "--json").out)
    assert {(row["name"], row["category"], round(row["extent_metres"], 3)) for row in rows} == {
        ("red racket", "tennis racket", 1),
        ("blue racket", "tennis racket", 2),
    }
    digest = rows[0]["id"]
    assert MeshStore(table).find(digest).read_bytes().startswith(b"glTF")
    assert json.loads(run_command("catalogue", "show", digest, "--table", table, "--json").out) == rows[0]
    again = json.loads(run_command(*arguments, "--json").out)
    assert (len(again["ids"]), again["version"]) == (2, 2)
    assert [
        row["category"] for row in json.loads(run_command("catalogue", "list", "--table", table, "--json").out)
    ] == [
        "",
        "",
    ]


@pytest.mark.usefixtures("small_encoder")
def test_nothing_added_is_a_failure(run_command: Run, tmp_path: Path) -> None:
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    told = run_command(
        "catalogue", "add", tmp_path / "flat.obj", "--table", tmp_path / "table", "--encoder", tmp_path, "--json"
    )
    assert told.code == 2
    assert json.loads(told.out)["refused"] == [[str(tmp_path / "flat.obj"), "has no area"]]


@pytest.mark.usefixtures("small_encoder")
def test_a_table_of_another_space_is_left_alone(run_command: Run, tmp_path: Path) -> None:
    VectorTable(tmp_path / "table").add([TableRow(id="a")], np.eye(1, 4))
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "box.ply")
    told = run_command("catalogue", "add", tmp_path / "box.ply", "--table", tmp_path / "table", "--encoder", tmp_path)
    assert told.code == 2
    assert "holds 4 channels, the encoder makes 10" in told.err
    assert not (tmp_path / "table" / "meshes").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "no such thing"), "ID: 'no such thing' is not in the packaged catalogue"),
        (("list", "--table", "."), "is no table"),
        (("add", "absent.glb", "--table", "t", "--encoder", "e"), "absent.glb: does not exist"),
    ],
)
def test_errors_are_one_sentence(run_command: Run, arguments: tuple[str, ...], message: str) -> None:
    told = run_command("catalogue", *arguments)
    assert told.code == 2
    assert message in told.err


def test_the_published_table_is_imported(run_command: Run, tmp_path: Path) -> None:
    torch.save({"us": ["a", "b"], "feats": torch.eye(2)}, tmp_path / "objaverse.pt")
    (tmp_path / "meta.json").write_text(json.dumps({"entries": [{"u": "a", "name": "cup"}]}))
    told = run_command(
        "catalogue", "import", tmp_path / "objaverse.pt", tmp_path / "meta.json", "--table", tmp_path / "t"
    )
    assert told.code == 0
    assert "imported 2 rows, 1 with metadata, 0 with a category" in told.out
    with VectorTable(tmp_path / "t").open() as snapshot:
        assert list(snapshot.rows()) == [TableRow(id="a", name="cup"), TableRow(id="b")]


def test_rows_are_found_among_removed_and_replaced_ones(tmp_path: Path) -> None:
    table = VectorTable(tmp_path)
    table.add([TableRow(id=name) for name in "abc"], np.eye(3))
    table.add([TableRow(id="b", name="new")], np.eye(3)[:1])
    table.remove(["a"])
    with table.open() as snapshot:
        assert [row.id for row in snapshot.rows()] == ["c", "b"]
        assert snapshot.find("b") == TableRow(id="b", name="new")
        assert snapshot.find("a") is None
