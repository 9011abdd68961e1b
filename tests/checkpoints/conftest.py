from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent.parent / "golden" / "data"


@pytest.fixture
def contact_release(tmp_path: Path) -> Path:
    """A writable copy of a complete small checkpoint in the official layout."""
    folder = tmp_path / "contact_release"
    shutil.copytree(GOLDEN / "contact_release", folder)
    return folder


@pytest.fixture
def edit_json() -> Callable[..., None]:
    def edit(path: Path, **changes: object) -> None:
        content = json.loads(path.read_text())
        content.update(changes)
        path.write_text(json.dumps(content))

    return edit


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hashes that are remembered stay within the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def left_in() -> Callable[[Path], set[str]]:
    """The names in a folder, the cache aside."""
    return lambda folder: {path.name for path in folder.iterdir()} - {"cache"}
