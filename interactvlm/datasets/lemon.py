"""3DIR, the data set of LEMON (paper, section 4; Yang et al., CVPR 2024): contact on the body and on the object.

Photos lie in folders by object and affordance (`.../<Object>/<affordance>/<name>.jpg`). Each has a pickle of the same
name with the contact of SMPL-H's 6,890 vertices, and objects are text files of points in a folder of the object's name
(docs/datasets.md). What stands above those folders does not matter.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interactvlm.datasets.affordance_points import AffordancePoints, read_affordance_points
from interactvlm.datasets.names import damon_category, everyday_name
from interactvlm.datasets.npz_rows import read_pickles
from interactvlm.datasets.paths import PHOTO_SUFFIXES, files_below, read_listed_photo, read_path_list
from interactvlm.datasets.sample import ContactSample, HumanContact, ObjectContact
from interactvlm.datasets.vertices import ids_in_contact
from interactvlm.errors import InputError
from interactvlm.types import Task

__all__ = ["LEMON_AFFORDANCES", "read_lemon"]

LEMON_AFFORDANCES = (
    *("grasp", "lift", "open", "lay", "sit", "support", "wrapgrasp", "pour", "move", "pull", "listen", "press"),
    *("cut", "stab", "ride", "play", "carry"),
)
"""The order of a point file's columns p1 ... p17."""

_VERTICES = 6890
#: Pickles that one confined process reads: starting it costs a third of a second.
_PICKLES_AT_ONCE = 256


class _Photo(NamedTuple):
    path: Path
    name: str
    affordance: str


def read_lemon(folder: Path, *, split: str | None = None) -> Iterator[ContactSample]:
    """The samples below a folder, in the order of their paths, some hundred at a time.

    An object's points are those of the photo's own name where there are such, else one of the object's files, always
    the same one.

    Args:
        folder: the downloaded folder.
        split: the photos that `{split}.txt` in the folder (or one below it) lists; None: all.

    Raises:
        InputError: a file is malformed, ambiguous or not there, or there are no photos.
        PhotoError: a photo is empty or too large.
        MeshError: points are not finite.
    """
    photos = [photo for path in files_below(folder, PHOTO_SUFFIXES) if (photo := _photo(folder, path)) is not None]
    if split is not None:
        photos = _chosen(folder, split, photos)
    if not photos:
        raise InputError(
            str(folder), f"holds no photos as <Object>/<affordance>/<name>.jpg{f' of {split}' if split else ''}"
        )
    pickles: dict[str, list[Path]] = defaultdict(list)
    for path in files_below(folder, (".pkl",)):
        pickles[path.stem].append(path)
    clouds: dict[str, list[Path]] = defaultdict(list)
    for path in files_below(folder, (".txt",)):
        for name in {part.lower() for part in path.relative_to(folder).parts[:-1]}:
            clouds[name].append(path)
    rest = iter(enumerate(photos))
    while batch := list(islice(rest, _PICKLES_AT_ONCE)):
        contacts = [_only(folder, photo, pickles[photo.path.stem]) for _, photo in batch]
        for (row, photo), source, value in zip(batch, contacts, read_pickles(contacts), strict=True):
            points = _points(folder, photo, clouds)
            yield _sample(row, photo, source, value, points, split)


def _photo(folder: Path, path: Path) -> _Photo | None:
    """None for pictures that lie elsewhere (masks, renders)."""
    parts = path.relative_to(folder).parts[:-1]
    if len(parts) < 2 or parts[-1].lower() not in LEMON_AFFORDANCES:
        return None
    return _Photo(path, parts[-2], parts[-1].lower())


def _chosen(folder: Path, split: str, photos: list[_Photo]) -> list[_Photo]:
    lists = [path for path in files_below(folder, (".txt",)) if path.stem.lower() == split.lower()]
    if len(lists) != 1:
        raise InputError(str(folder), f"holds {len(lists)} files {split}.txt, exactly one list of photos is needed")
    wanted = {tuple(Path(listed).parts[-3:]) for listed in read_path_list(lists[0])}
    chosen = [photo for photo in photos if tuple(photo.path.parts[-3:]) in wanted]
    if len(chosen) != len(wanted):
        there = {tuple(photo.path.parts[-3:]) for photo in chosen}
        example = "/".join(min(wanted - there)) if wanted - there else "one twice"
        raise InputError(str(lists[0]), f"lists {len(wanted)} photos, {len(there)} are there; such as {example}")
    return chosen


def _only(folder: Path, photo: _Photo, found: list[Path]) -> Path:
    """The contact pickle of a photo: of its name, and where several objects use that name, in folders of its names."""
    if len(found) > 1:
        found = [path for path in found if {photo.name, photo.affordance} <= set(path.relative_to(folder).parts)]
    if len(found) != 1:
        raise InputError(str(photo.path), f"has {len(found)} contact files {photo.path.stem}.pkl below {folder}, not 1")
    return found[0]


def _points(folder: Path, photo: _Photo, clouds: dict[str, list[Path]]) -> AffordancePoints:
    candidates = clouds[photo.name.lower()]
    if not candidates:
        raise InputError(str(folder), f"holds no point files below a folder {photo.name}, the object of {photo.path}")
    own = [path for path in candidates if path.stem == photo.path.stem]
    chosen = own[0] if len(own) == 1 else candidates[zlib.crc32(photo.path.name.encode()) % len(candidates)]
    return read_affordance_points(chosen, LEMON_AFFORDANCES, leading_words=0)


def _sample(
    row: int, photo: _Photo, source: Path, value: Any, points: AffordancePoints, split: str | None
) -> ContactSample:
    name = everyday_name(photo.name)
    category = damon_category(name)
    human = HumanContact(
        task=Task.SEMANTIC,
        object_name=name,
        vertex_ids=ids_in_contact(_labels(value, source), _VERTICES, source=str(source)),
        topology="smpl",
        category=category,
    )
    item = ObjectContact(
        object_name=name,
        surface=points.cloud,
        values=points.values(photo.affordance),
        affordance=photo.affordance,
        category=category,
    )
    return ContactSample(
        sample_id=f"3dir-{split or 'all'}-{row:05d}",
        photo=read_listed_photo(photo.path),
        human=(human,),
        objects=(item,),
        tags={
            "source": "3dir",
            "split": split or "",
            "photo": photo.path.name,
            "object": photo.name,
            "affordance": photo.affordance,
        },
    )


def _labels(value: Any, source: Path) -> Any:
    """The one array of 6,890 numbers in a pickle: the value itself, or one of its dict's values."""
    if not isinstance(value, dict):
        return value
    fitting = [key for key, member in value.items() if isinstance(member, np.ndarray) and member.size == _VERTICES]
    if len(fitting) != 1:
        raise InputError(
            str(source), f"holds {len(fitting)} arrays of {_VERTICES} numbers under {', '.join(value)[:200]}, not 1"
        )
    return value[fitting[0]]
