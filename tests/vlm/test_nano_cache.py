from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from interactvlm.checkpoints.manifest import write_manifest
from interactvlm.vlm.nano import assembly
from interactvlm.vlm.nano.cache import exclusive, is_intact, mark_intact


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    for part in (made, made / "vision_tower"):
        part.mkdir()
        (part / "model.safetensors").write_bytes(b"0123456789")
        write_manifest(part)
    mark_intact(made)
    return made


def test_finished_folder_is_intact(folder: Path) -> None:
    assert is_intact(folder)


def test_unfinished_and_absent_folders_are_not(folder: Path, tmp_path: Path) -> None:
    (folder / "stamps.json").unlink()
    assert not is_intact(folder)
    assert not is_intact(tmp_path / "absent")


@pytest.mark.parametrize("part", [".", "vision_tower"])
def test_truncated_missing_and_unreadable_files_are_seen(folder: Path, part: str) -> None:
    file = folder / part / "model.safetensors"
    file.write_bytes(b"01234")
    assert not is_intact(folder)
    file.unlink()
    assert not is_intact(folder)


@pytest.mark.parametrize("part", [".", "vision_tower"])
def test_changed_bytes_of_the_same_size_are_seen(folder: Path, part: str) -> None:
    (folder / part / "model.safetensors").write_bytes(b"012345678X")
    os.utime(folder / part / "model.safetensors", (1, 1))
    assert not is_intact(folder)


def test_copied_folder_is_verified_once(folder: Path) -> None:
    os.utime(folder / "model.safetensors", (1, 1))
    before = (folder / "stamps.json").read_text()
    assert is_intact(folder)
    assert (folder / "stamps.json").read_text() != before


def _build_slowly(scratch: Path, language: Path, image_encoder: Path, *, base: bool) -> None:
    with (scratch.parent / "builds").open("a") as log:
        log.write("built\n")
    time.sleep(0.3)
    (scratch / "config.json").write_text("{}")
    write_manifest(scratch)


def _assemble_in_child(cache: Path, answers: multiprocessing.Queue[str]) -> None:
    assembly._write_folder = _build_slowly
    answers.put(str(assembly.assemble(cache)))


def test_processes_that_start_together_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    children = [context.Process(target=_assemble_in_child, args=(tmp_path, answers)) for _ in range(3)]
    for child in children:
        child.start()
    found = {answers.get(timeout=120) for _ in children}
    for child in children:
        child.join()
    assert len(found) == 1
    assert (tmp_path / "builds").read_text() == "built\n"
    assert {path.name for path in tmp_path.iterdir()} == {"builds", "nano.lock", Path(found.pop()).name}


def test_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(scratch: Path, *_: Path, base: bool) -> None:
        (scratch / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr(assembly, "_write_folder", fail)
    with pytest.raises(KeyboardInterrupt):
        assembly.assemble(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["nano.lock"]


def test_damaged_folder_and_leftovers_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "_write_folder", _build_slowly)
    (tmp_path / ".nano-killed").mkdir()
    target = assembly.assemble(tmp_path)
    (target / "config.json").write_text("")
    assert assembly.assemble(tmp_path) == target
    assert (target / "config.json").read_text() == "{}"
    assert (tmp_path / "builds").read_text() == "built\n" * 2
    assert not list(tmp_path.glob(".nano-*"))


def test_lock_is_exclusive(tmp_path: Path) -> None:
    import fcntl

    with (
        exclusive(tmp_path / "lock"),
        (tmp_path / "lock").open("a") as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
