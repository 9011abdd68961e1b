"""Pieces of tiny data sets in the published formats."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interactvlm.errors import InteractVLMError

SMPL = 6890
PIAD_COLUMNS = 17


def jpeg(seed: int = 0) -> bytes:
    random = np.random.default_rng(seed)
    out = io.BytesIO()
    Image.fromarray(random.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(out, "JPEG")
    return out.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def point_rows(seed: int, column: int, words: str = "", rows: int = 12) -> str:
    """A point file whose heat is in one column."""
    random = np.random.default_rng(seed)
    lines = []
    for i in range(rows):
        heat = np.zeros(PIAD_COLUMNS)
        heat[column] = i / rows
        numbers = " ".join(f"{value:.6f}" for value in (*random.normal(size=3), *heat))
        lines.append(f"{words} {numbers}".strip())
    return "\n".join(lines) + "\n"


def replace_member(path: Path, member: str, content: bytes) -> None:
    """Put other bytes under a name of a zip file."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name != member}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (kept | {member: content}).items():
            archive.writestr(name, data)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the sentence of its deliberate error."""
    try:
        return call()
    except InteractVLMError as error:
        return str(error)
