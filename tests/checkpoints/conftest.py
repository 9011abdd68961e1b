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
