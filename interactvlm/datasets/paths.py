"""Files that a data set's own lists name: found below the user's folder, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import overload

from interactvlm.errors import InputError, PhotoError
from interactvlm.photo import read_photo

__all__ = ["PHOTO_SUFFIXES", "files_below", "locate", "read_listed_photo", "read_path_list", "read_text"]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_TEXT_BYTES = 64 << 20
"""A list of paths has some MB, an object's points some 0.5 MB."""


def read_text(path: Path) -> str:
    """A text file of a data set.

    Raises:
        InputError: it is missing, larger than MAX_TEXT_BYTES or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except FileNotFoundError:
        raise InputError(str(path), "does not exist") from None
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from None
    if len(data) > MAX_TEXT_BYTES:
        raise InputError(str(path), f"is larger than {MAX_TEXT_BYTES} bytes, the limit")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"is not UTF-8 text (byte {error.start})") from None


def read_path_list(path: Path) -> list[str]:
    """The lines of a path list, blank ones left out; backslashes become slashes.

    Raises:
        InputError: as `read_text`.
    """
    return [line.strip().replace("\\", "/") for line in read_text(path).splitlines() if line.strip()]


@overload
def locate(root: Path, listed: str, *, source: str, missing: None = None) -> Path: ...
@overload
def locate(root: Path, listed: str, *, source: str, missing: Callable[[str], None] | None) -> Path | None: ...
def locate(root: Path, listed: str, *, source: str, missing: Callable[[str], None] | None = None) -> Path | None:
    """The file that a list names.

    Lists carry paths from the machine of their authors (`Data/Seen/Img/Train/Bed/lay/x.jpg`): the longest end of the
    listed path that exists below `root` is taken.

    Args:
        root: the user's folder.
        listed: the path as listed.
        source: who lists it, named in errors.
        missing: told of a file that is not there, which then is None; without it that is an error.

    Raises:
        InputError: the path leaves the folder, or no such file is there.
    """
    parts = [part for part in PurePosixPath(listed.replace("\\", "/")).parts if part not in ("/", ".")]
    if not parts or ".." in parts or "\0" in listed:
        raise InputError(source, f"names the path {listed[:200]!r}, which leaves the folder")
    for start in range(len(parts)):
        candidate = root.joinpath(*parts[start:])
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # a name that is too long
            break
    if missing is None:
        raise InputError(source, f"names {listed[:200]!r}, which is not below {root}")
    missing(listed)
    return None


def read_listed_photo(path: Path) -> bytes:
    """The encoded photo.

    Raises:
        PhotoError: it is missing, empty or too large; the error names the whole path.
    """
    try:
        return read_photo(path)
    except PhotoError as error:
        raise PhotoError(str(path), error.problem) from None


def files_below(root: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """All files with one of the suffixes (any case) below a folder, in a stable order.

    Raises:
        InputError: `root` is no folder.
    """
    if not root.is_dir():
        raise InputError(str(root), "is no folder")
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file():
            yield path
