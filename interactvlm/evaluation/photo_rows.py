"""Real photographs with what a person sees in them: a TOML file of rows beside a folder of photos.

[[row]]
photo = "000000196141.jpg"
person = [120, 40, 480, 620]     # pixels; left out: the largest person
object = "baseball bat"          # "ground" asks about the ground
parts = ["left hand", "right hand"]
optional = []                    # parts that count neither way
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interactvlm.body.parts import PART_NAMES
from interactvlm.errors import InputError
from interactvlm.types import Box, Question, Task
from interactvlm.vlm.prompts import check_object_name

__all__ = ["GROUND_NAMES", "PhotoRow", "read_rows"]

GROUND_NAMES = ("ground", "floor", "scene")
"""Objects that are asked about with the SCENE question."""

_KEYS = {"photo", "person", "object", "parts", "optional", "who"}


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """What a person sees one person touch one object with.

    Attributes:
        photo: file name below the folder.
        person: their box in pixels; None: the largest person.
        object_name: everyday name.
        parts: parts in contact, of PART_NAMES.
        optional: parts that are right either way.
        who: a word about the person, for readers only.
    """

    photo: str
    person: Box | None
    object_name: str
    parts: tuple[str, ...]
    optional: tuple[str, ...] = ()
    who: str = ""

    @property
    def question(self) -> Question:
        """What is asked."""
        if self.object_name.lower() in GROUND_NAMES:
            return Question(Task.SCENE)
        return Question(Task.SEMANTIC, self.object_name)


def read_rows(file: Path, folder: Path) -> list[PhotoRow]:
    """Read a rows file.

    Args:
        file: TOML as above.
        folder: with the photos.

    Raises:
        InputError: the file cannot be read, a row lacks something, names a part that there is not, or a photo that
            does not lie in the folder.
        QuestionError: an object's name is malformed.
    """
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"is not valid TOML ({error})") from None
    rows = raw.get("row")
    if not isinstance(rows, list) or not rows:
        raise InputError(str(file), "holds no [[row]]")
    return [_row(f"{file.name} row {number}", row, folder) for number, row in enumerate(rows, start=1)]


def _row(where: str, row: object, folder: Path) -> PhotoRow:
    if not isinstance(row, Mapping):
        raise InputError(where, "must be a table [[row]]")
    if unknown := sorted(set(row) - _KEYS):
        raise InputError(where, f"has the unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
    photo, name, who = (_text(where, row, key) for key in ("photo", "object", "who"))
    for key, value in (("photo", photo), ("object", name)):
        if not value:
            raise InputError(where, f"lacks `{key}`")
    if Path(photo).name != photo or not (folder / photo).is_file():
        raise InputError(where, f"names the photo {photo!r}, which does not lie in {folder}")
    return PhotoRow(
        photo=photo,
        person=_box(where, row.get("person")),
        object_name=check_object_name(name),
        parts=_parts(where, "parts", row.get("parts")),
        optional=_parts(where, "optional", row.get("optional", [])),
        who=who,
    )


def _text(where: str, row: Mapping[str, Any], key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str):
        raise InputError(where, f"`{key}` must be text, not {value!r}")
    return value


def _box(where: str, value: object) -> Box | None:
    if value is None:
        return None
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(numbers) != 4 or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise InputError(where, f"`person` must be [left, top, right, bottom] in pixels, not {value!r}")
    return Box(*(float(number) for number in numbers))


def _parts(where: str, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InputError(where, f"`{key}` must be a list of body parts, not {value!r}")
    if unknown := [part for part in value if part not in PART_NAMES]:
        raise InputError(where, f"`{key}` names {unknown[0]!r}; known: {', '.join(PART_NAMES)}")
    return tuple(dict.fromkeys(value))
