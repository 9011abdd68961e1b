"""What tests of several stages share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def nano_folder() -> Path:
    """nano, assembled once into the user's cache and found there by every later run."""
    from interactvlm.vlm.nano import assemble

    return assemble()
