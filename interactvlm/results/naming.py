"""File names: `{stem}` for what concerns the photo, `{object}__{stem}` for what concerns one object.

The object's name comes first, a double underscore, then the photo's stem, blanks as underscores
("tennis_racket__000002"): the order in which data sets of this field name a photo with its object. A binary answer
carries the bare stem, a scene answer "scene__{stem}". A second answer that would take the same name gets "-2", "-3".
Only letters, digits, "_" and "-" of a name reach the file system.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from interactvlm.errors import InputError
from interactvlm.types import PhotoMask, Target, Task, TaskResult

__all__ = ["check_stem", "result_stems"]

_MAX_STEM_BYTES = 120
_MAX_OBJECT_BYTES = 60


def check_stem(stem: str) -> str:
    """The stem itself, when files may be called so.

    Raises:
        InputError: it is empty, starts with a dot, holds a path separator or control characters, or has more than
            120 bytes.
    """
    if not stem or stem.startswith("."):
        raise InputError("stem", f"is {stem!r}; it must be a file name without extension that starts with no dot")
    if "/" in stem or "\\" in stem or not stem.isprintable():
        raise InputError("stem", f"is {stem!r}; path separators and control characters are not allowed")
    if len(stem.encode()) > _MAX_STEM_BYTES:
        raise InputError("stem", f"has {len(stem.encode())} bytes; the limit is {_MAX_STEM_BYTES}")
    return stem


def result_stems(stem: str, results: Sequence[TaskResult | PhotoMask]) -> tuple[str, ...]:
    """One file stem a result, unique among the results on the same kind of surface (files of a body and of an object
    differ by their suffix).

    Raises:
        InputError: see `check_stem`.
    """
    check_stem(stem)
    taken: set[tuple[Target, str]] = set()
    stems = []
    for result in results:
        subject = _subject(result)
        name, repeat = _join(subject, 1, stem), 1
        while (result.target, name.casefold()) in taken:  # some file systems ignore case
            repeat += 1
            name = _join(subject, repeat, stem)
        taken.add((result.target, name.casefold()))
        stems.append(name)
    return tuple(stems)


def _join(subject: str, repeat: int, stem: str) -> str:
    counted = subject if repeat == 1 else f"{subject}-{repeat}"
    return f"{counted}__{stem}" if counted else stem


def _subject(result: TaskResult | PhotoMask) -> str:
    if result.task is Task.BINARY:
        return ""
    if result.task is Task.SCENE:
        return "scene"
    slug = re.sub(r"[^\w-]+", "_", result.object_name.strip()).strip("_")
    return slug.encode()[:_MAX_OBJECT_BYTES].decode(errors="ignore") or "object"
