"""Entries of a JSON file too large to parse at once (Objaverse's metadata: 440 MB), one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interactvlm.errors import CheckpointError

__all__ = ["json_entries"]

_CHUNK = 4 << 20  # characters
_MAX_ENTRY = 16 << 20
_START = re.compile(r'\s*(?:\{\s*"entries"\s*:\s*)?\[')
_SPACE = re.compile(r"[\s,]*")


def json_entries(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in `{"entries": [...]}` or `[...]`.

    Raises:
        CheckpointError: the file cannot be read or is none of these.
    """
    decoder = json.JSONDecoder()
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_CHUNK)
            opened = _START.match(text)
            if opened is None:
                raise CheckpointError(path, 'must begin with {"entries": [ or [')
            text, at = text[opened.end() :], 0
            while True:
                at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
                if text.startswith("]", at):
                    return
                try:
                    entry, at = decoder.raw_decode(text, at)
                except ValueError:
                    more = file.read(_CHUNK)
                    if not more or len(text) - at > _MAX_ENTRY:
                        raise CheckpointError(path, "is not valid JSON, or ends too early") from None
                    text, at = text[at:] + more, 0
                    continue
                if not isinstance(entry, dict):
                    raise CheckpointError(path, "holds an entry that is no object")
                yield entry
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(path, f"cannot be read ({type(error).__name__}: {error})") from None
