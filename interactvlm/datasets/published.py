"""Any published data set by its name, as the command line and training open them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.damon import read_damon
from interactvlm.datasets.lemon import read_lemon
from interactvlm.datasets.piad import read_piad
from interactvlm.datasets.pico import read_pico
from interactvlm.datasets.sample import ContactSample
from interactvlm.errors import InputError

__all__ = ["PUBLISHED", "open_published"]

PUBLISHED = ("damon", "piad", "lemon", "pico")
"""Names of the data sets; "lemon" is 3DIR."""


def open_published(
    name: str,
    path: Path,
    *,
    split: str = "train",
    photos: Path | None = None,
    body: BodyTemplate | None = None,
    missing: Callable[[str], None] | None = None,
) -> Iterator[ContactSample]:
    """The samples of one data set, one at a time.

    Args:
        name: one of PUBLISHED.
        path: the downloaded folder; of DAMON also the label file itself.
        split: "train" or "test"; "" for all of 3DIR; PICO has none.
        photos: folder of DAMON's photos, where it is not the labels' own.
        body: the user's body; PICO's files may name its faces, and its vertices are taken to be PICO's.
        missing: told of each photo that is not there, and the sample is left out (DAMON, PIAD); None: an error.

    Raises:
        InputError: the name is none of these, or a file is missing or malformed.
        PhotoError: a photo is empty or too large.
        MeshError: an object cannot be used.
    """
    if name not in PUBLISHED:
        raise InputError("source", f"is {name!r}; known: {', '.join(PUBLISHED)}")
    if not path.exists():
        raise InputError(str(path), "does not exist")
    if name == "damon":
        labels = _damon_labels(path, split)
        return read_damon(labels, photos or labels.parent, split=split, missing=missing)
    if name == "piad":
        return read_piad(path, split=split, missing=missing)
    if name == "lemon":
        return read_lemon(path, split=split or None)
    return read_pico(path, topology="smplx" if body is None else body.topology, body=body)


def _damon_labels(path: Path, split: str) -> Path:
    if path.is_file():
        return path
    found = sorted(file for file in path.rglob("*.npz") if split in file.stem)
    if len(found) != 1:
        names = ", ".join(str(file.relative_to(path)) for file in found[:4]) or "none"
        raise InputError(str(path), f"holds {names} as *{split}*.npz, exactly one is needed; name the file itself")
    return found[0]
