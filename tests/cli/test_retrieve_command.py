"""`interactvlm retrieve` and the catalogue's pictures: in process and at a server, which must answer alike."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from interactvlm.geometry.load import load_mesh
from interactvlm.retrieval import shape_encoder
from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.vector_table import VectorTable
from services.retrieval.__main__ import make
from services.retrieval.config import RetrievalConfig
from services.runtime.config import ServerConfig
from services.runtime.server import Server

Run = Callable[..., Any]
SMALL = shape_encoder.ShapeEncoderConfig(
    width=16, depth=1, heads=2, head_width=8, mlp_width=24, group_width=12, groups=20, group_size=8, embedding=10
)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_command: Run) -> Path:
    """A cube, a plank of known size, and a row that has no mesh."""
    torch.manual_seed(0)
    encoder = shape_encoder.ShapeEncoder(config=SMALL).eval()
    monkeypatch.setattr(shape_encoder, "load_shape_encoder", lambda folder, device="cpu": encoder)
    (tmp_path / "new").mkdir()
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "new" / "cube.glb")
    trimesh.creation.box((2, 0.1, 0.2)).export(tmp_path / "new" / "plank.ply")
    folder = tmp_path / "table"
    arguments = ("--encoder", tmp_path, "--category", "boxes", "--licence", "CC0-1.0", "--metres")
    assert run_command("catalogue", "add", tmp_path / "new", "--table", folder, *arguments).code == 0
    VectorTable(folder).add([TableRow(id="bare", name="only known by its vector")], -np.ones((1, 10)))
    return folder


@pytest.fixture
def address(table: Path) -> Iterator[str]:
    """A retrieval server over that table, on a thread, as the command occupies this one."""
    ready, ports, loop, over = threading.Event(), [], asyncio.new_event_loop(), asyncio.Event()
    config = RetrievalConfig(table=str(table), shape_encoder="here", server=ServerConfig(log_level="warning"))

    async def serve() -> None:
        server = Server(make(config), config.server)
        await server.start()
        ports.append(server.port)
        ready.set()
        await over.wait()
        await server.stop(grace=0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield f"127.0.0.1:{ports[0]}"
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def test_a_server_answers_what_the_command_answers_in_process(
    run_command: Run, table: Path, address: str, tmp_path: Path
) -> None:
    cube = tmp_path / "new" / "cube.glb"
    here = ("--table", table, "--shape-encoder", tmp_path)
    there = ("--server", address)
    documents = []
    for name, where in (("here", here), ("there", there)):
        told = run_command("retrieve", cube, "--out", tmp_path / name, "--json", *where)
        assert told.code == 0, told.err
        documents.append(json.loads(told.out))
        names = {path.name for path in (tmp_path / name).iterdir()}
        assert names == {"cube.png", "cube.glb", "cube.json"}
        assert json.loads((tmp_path / name / "cube.json").read_text())["hits"] == documents[-1]["hits"]
        assert (tmp_path / name / "cube.glb").read_bytes() == cube.read_bytes()
    for document in documents:
        document.pop("files")
    assert documents[0] == documents[1]
    hits = documents[0]["hits"]
    assert [hit["name"] for hit in hits] == ["cube", "plank", "only known by its vector"]
    assert (hits[0]["category"], hits[0]["extent_metres"], hits[0]["extent_source"]) == ("box", 1, "mesh")
    assert hits[0]["confidence"] is None
    sheets = [Image.open(tmp_path / name / "cube.png") for name in ("here", "there")]
    np.testing.assert_array_equal(*map(np.asarray, sheets))


def test_the_nearest_is_printed_and_a_ply_becomes_glb(
    run_command: Run, table: Path, address: str, tmp_path: Path
) -> None:
    told = run_command("retrieve", tmp_path / "new" / "plank.ply", "--top", "1", "--server", address, "--out", tmp_path)
    assert told.code == 0, told.err
    assert "plank" in told.out
    assert "2.00 m" in told.out
    assert "cube" not in told.out.replace(str(tmp_path), "")
    assert str(tmp_path / "plank.png") in told.out
    assert len(load_mesh(tmp_path / "plank.glb", file_type="glb").faces) == 12


def test_conditions_and_points(run_command: Run, table: Path, address: str, tmp_path: Path) -> None:
    points = tmp_path / "cloud.npy"
    np.save(points, np.random.default_rng(0).random((100, 3)).astype(np.float32))
    for where in (("--table", table, "--shape-encoder", tmp_path), ("--server", address)):

        def names(*conditions: object, where: Any = where) -> set[str]:
            told = run_command("retrieve", points, "--json", *where, *conditions)
            assert told.code == 0, told.err
            return {hit["name"] for hit in json.loads(told.out)["hits"]}

        assert names("--category", "boxes") == {"cube", "plank"}
        assert names("--size", "1.5,3") == {"plank"}
        assert names("--licence", "CC0-1.0", "--max-faces", "11") == set()
        assert names("--category", "mug", "--category", "box", "--top", "1") < {"cube", "plank"}


def test_what_a_table_cannot_be_asked(run_command: Run, table: Path, address: str) -> None:
    told = run_command("retrieve", "a chair", "--server", address)
    assert told.code == 2
    assert "needs a query encoder" in told.err
    told = run_command("retrieve", "a chair", "--table", table)
    assert told.code == 2
    assert "needs a query encoder" in told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.jpg",), "absent.jpg: does not exist"),
        (("chair.glb",), "chair.glb: does not exist"),
        ((" ",), "must have 1 to 256"),
        (("x" * 257,), "must have 1 to 256"),
        (("cup", "--box", "1,2,3,4"), "--box: goes with a photo"),
        (("cup", "--mask", "m.png"), "--mask: goes with a photo"),
        (("PHOTO", "--box", "4,4,4,8"), "--box: is '4,4,4,8'"),
        (("PHOTO", "--box", "a,b"), "--box: is 'a,b'"),
        (("PHOTO", "--mask", "SMALL"), "is 8 x 8 pixels, the photo 32 x 24"),
        (("PHOTO", "--mask", "BLACK"), "is black"),
        (("PHOTO", "--mask", "TEXT"), "is not a readable picture"),
        (("TEXT.glb",), "TEXT.glb"),
        (("cup", "--size", "3,1"), "--size: is '3,1'"),
        (("cup", "--shape-encoder", "x"), "--shape-encoder: goes with --table"),
        (("cup", "--timeout", "3"), "--timeout: goes with --server"),
        (("cup", "--server", "127.0.0.1:1", "--table", "t"), "--table: is chosen where the server starts"),
        (("cup", "--server", "nowhere"), "must be HOST:PORT"),
        (("cup", "--table", "."), "is no table"),
    ],
)
def test_errors_are_one_sentence(
    run_command: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 24), "red").save("PHOTO.png")
    Image.new("L", (8, 8), 255).save("SMALL.png")
    Image.new("L", (32, 24), 0).save("BLACK.png")
    Path("TEXT.png").write_text("text")
    Path("TEXT.glb").write_text("text")
    named = [f"{one}.png" if one in ("PHOTO", "SMALL", "BLACK", "TEXT") else one for one in arguments]
    told = run_command("retrieve", *named, "--out", "out")
    assert told.code == 2, told.err
    assert message in told.err
    assert "Traceback" not in told.err
    assert not Path("out").exists() or not list(Path("out").iterdir())


def test_nobody_there(run_command: Run, tmp_path: Path) -> None:
    told = run_command("retrieve", "cup", "--server", "127.0.0.1:1", "--timeout", "30")
    assert told.code == 5
    assert "127.0.0.1:1 cannot be reached" in told.err


def test_a_table_is_drawn_and_rows_are_removed(run_command: Run, table: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "pictures" / "all.png"
    told = run_command("catalogue", "list", "--table", table, "--png", sheet, "--json")
    rows = json.loads(told.out)
    assert len(rows) == 3
    assert np.asarray(Image.open(sheet)).std() > 10
    assert run_command("catalogue", "show", "bare", "--table", table, "--png", tmp_path / "one.png").code == 0
    assert (tmp_path / "one.png").is_file()
    cube = next(row["id"] for row in rows if row["name"] == "cube")
    told = run_command("catalogue", "remove", cube, "absent", "--table", table)
    assert told.code == 0
    assert "removed 1 of 2 rows" in told.out
    assert "not in the table: absent" in told.out
    assert not list(table.glob(f"meshes/{cube}*"))
    again = run_command("catalogue", "remove", cube, "--table", table, "--json")
    assert again.code == 2
    assert json.loads(again.out)["missing"] == [cube]
    assert "is no table" in run_command("catalogue", "remove", "x", "--table", tmp_path).err


def test_a_servers_meshes_are_listed_and_drawn_as_the_tables(
    run_command: Run, table: Path, address: str, tmp_path: Path
) -> None:
    documents, sheets = [], []
    for name, where in (("here", ("--table", table)), ("there", ("--server", address))):
        sheet = tmp_path / f"{name}.png"
        told = run_command("catalogue", "list", "--json", "--png", sheet, "--category", "Box", *where)
        assert told.code == 0, told.err
        documents.append(json.loads(told.out))
        shown = run_command("catalogue", "show", documents[-1][0]["id"], "--png", sheet, "--json", *where)
        assert json.loads(shown.out) == documents[-1][0]
        sheets.append(np.asarray(Image.open(sheet)))
    assert documents[0] == documents[1]
    assert {row["name"] for row in documents[0]} == {"cube", "plank"}
    np.testing.assert_array_equal(*sheets)
    told = run_command("catalogue", "show", "absent", "--server", address)
    assert told.code == 2
    assert f"'absent' is not in {address}" in told.err
    assert "--table: is chosen where" in run_command("catalogue", "list", "--table", table, "--server", address).err
    assert "--ca: goes with --server" in run_command("catalogue", "list", "--ca", table).err


def test_pictures_are_png(run_command: Run, tmp_path: Path) -> None:
    told = run_command("catalogue", "list", "--limit", "1", "--png", tmp_path / "x.jpg")
    assert told.code == 2
    assert "must end in .png" in told.err
    shown = run_command("catalogue", "show", "armchair", "--png", tmp_path / "x.png")
    assert shown.code == 0
    assert np.asarray(Image.open(tmp_path / "x.png")).std() > 10
