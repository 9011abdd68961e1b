"""Reading the small JSON files of a checkpoint folder without trusting them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from interactvlm.errors import CheckpointError

__all__ = ["parse_json_object", "read_json_object"]

_MAX_BYTES = 64 << 20  # the index of a 13B checkpoint has 60 kB, a tokenizer.json some MB


def read_json_object(path: Path, *, max_bytes: int = _MAX_BYTES) -> dict[str, Any]:
    """The one JSON object a file holds.

    Raises:
        CheckpointError: the file is missing, not a regular file, too large, not UTF-8, not JSON, nested too deeply,
            names a key twice, or holds something else than an object.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(path, "is not a regular file")
        if status.st_size > max_bytes:
            raise CheckpointError(path, f"has {status.st_size} bytes, the limit is {max_bytes}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(path, "does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CheckpointError(path, f"cannot be read ({error})") from None
    return parse_json_object(data, source=path)


def parse_json_object(data: bytes, *, source: object) -> dict[str, Any]:
    """The one JSON object in `data`; `source` is named in errors.

    Raises:
        CheckpointError: as `read_json_object`.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise CheckpointError(source, f"names the key {twice!r} twice")
        return found

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise CheckpointError(source, f"is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise CheckpointError(source, "must hold one JSON object")
    return value
