"""Knowing that a cached folder is whole, and letting one process at a time build it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.checkpoints.manifest import MANIFEST, verify_manifest
from interactvlm.errors import CheckpointError

__all__ = ["exclusive", "is_intact", "mark_intact"]

# Size and modification time of every file as they were when the folder was finished or last verified.
_STAMPS = "stamps.json"


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold an advisory lock file; the system releases it when the process dies, however it dies."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def mark_intact(folder: Path) -> None:
    """Remember the files of `folder` as they are; without the mark a folder counts as unfinished."""
    temporary = folder / f".{_STAMPS}.{os.getpid()}"
    temporary.write_text(json.dumps(_stamps(folder)), encoding="utf-8")
    temporary.replace(folder / _STAMPS)


def is_intact(folder: Path) -> bool:
    """Whether `folder` is finished and its files are unchanged.

    Sizes and times are compared; where only times differ (a copied cache) the SHA256SUMS files decide.
    """
    try:
        expected = read_json_object(folder / _STAMPS)
    except CheckpointError:
        return False
    found = _stamps(folder)
    if found == expected:
        return True
    if {name: stamp[0] for name, stamp in found.items()} != {name: stamp[0] for name, stamp in expected.items()}:
        return False
    try:
        for manifest in sorted(folder.rglob(MANIFEST)):
            verify_manifest(manifest.parent)
    except CheckpointError:
        return False
    try:
        mark_intact(folder)
    except OSError:
        return True  # a cache that is only readable is verified at every start
    return True


def _stamps(folder: Path) -> dict[str, list[int]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _STAMPS not in path.name:
            status = path.stat()
            found[path.relative_to(folder).as_posix()] = [status.st_size, status.st_mtime_ns]
    return found
