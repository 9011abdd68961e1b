"""PIAD (paper, section 4; Yang et al., ICCV 2023): photos paired with objects' points and their affordance heat.

A folder with the path lists `Img_{Train,Test}.txt`, `Point_{Train,Test}.txt` and `Box_{Train,Test}.txt`, and the files
they name below it; one such folder for the seen and one for the unseen setting (docs/datasets.md).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.datasets.affordance_points import AffordancePoints, read_affordance_points
from interactvlm.datasets.names import damon_category, everyday_name
from interactvlm.datasets.paths import locate, read_listed_photo, read_path_list
from interactvlm.datasets.sample import ContactSample, ObjectContact
from interactvlm.errors import CheckpointError, InputError
from interactvlm.types import Box

__all__ = ["PIAD_AFFORDANCES", "read_piad"]

PIAD_AFFORDANCES = (
    *("grasp", "contain", "lift", "open", "lay", "sit", "support", "wrapgrasp", "pour", "move", "display", "push"),
    *("listen", "wear", "press", "cut", "stab"),
)
"""The order of a point file's columns p1 ... p17."""

_PERSON_LABELS = ("subject", "human", "person")
_PHOTO_NAME = re.compile(r"Img_[A-Za-z]+_(?P<object>[A-Za-z]+)_(?P<affordance>[A-Za-z]+)_\w+")
_POINTS_NAME = re.compile(r"Point_[A-Za-z]+_(?P<object>[A-Za-z]+)_\w+")


def read_piad(folder: Path, *, split: str, missing: Callable[[str], None] | None = None) -> Iterator[ContactSample]:
    """The photos of one split, in the list's order, one at a time.

    Where the lists of photos and points have the same length and name the same object in every row, rows belong
    together (the test sets). Else a photo gets one of its object's point clouds, always the same one: the first, from a
    place that the photo's name decides, that has the photo's affordance.

    The tag "unseen_category" is "1" for objects that no photo of the training list shows.

    Args:
        folder: holds the path lists.
        split: "train" or "test".
        missing: told of each photo that is not there, and the sample is left out; None: that is an error.

    Raises:
        InputError: a list, box or point file is malformed or not there.
        PhotoError: a photo is empty or too large.
        MeshError: points are not finite.
    """
    if split not in ("train", "test"):
        raise InputError("split", f"is {split!r}; PIAD has train and test")
    title = split.capitalize()
    photos = read_path_list(folder / f"Img_{title}.txt")
    names = [_photo_name(folder, title, row, listed) for row, listed in enumerate(photos)]
    points = read_path_list(folder / f"Point_{title}.txt")
    shapes = [_points_object(folder, title, row, listed) for row, listed in enumerate(points)]
    boxes = read_path_list(folder / f"Box_{title}.txt") if (folder / f"Box_{title}.txt").exists() else []
    if boxes and len(boxes) != len(photos):
        raise InputError(str(folder / f"Box_{title}.txt"), f"has {len(boxes)} rows for {len(photos)} photos")
    trained = _trained_objects(folder)
    by_row = shapes == [name for name, _ in names]
    for row, (listed, (name, affordance)) in enumerate(zip(photos, names, strict=True)):
        photo = locate(folder, listed, source=f"{folder / f'Img_{title}.txt'}: row {row + 1}", missing=missing)
        if photo is None:
            continue
        candidates = [points[row]] if by_row else [p for p, shape in zip(points, shapes, strict=True) if shape == name]
        found = _choose(folder, f"Point_{title}.txt", candidates, listed, name, affordance)
        box = locate(folder, boxes[row], source=f"{folder / f'Box_{title}.txt'}: row {row + 1}") if boxes else None
        yield ContactSample(
            sample_id=f"piad-{split}-{row:05d}",
            photo=read_listed_photo(photo),
            person=_person_box(box) if box else None,
            objects=(
                ObjectContact(
                    object_name=everyday_name(name),
                    surface=found.cloud,
                    values=found.values(affordance),
                    affordance=affordance,
                    category=damon_category(name),
                ),
            ),
            tags={
                "source": "piad",
                "split": split,
                "photo": photo.name,
                "object": name,
                "affordance": affordance,
                "unseen_category": "" if trained is None or name in trained else "1",
            },
        )


def _photo_name(folder: Path, title: str, row: int, listed: str) -> tuple[str, str]:
    found = _PHOTO_NAME.fullmatch(Path(listed).stem)
    if found is None or found["affordance"].lower() not in PIAD_AFFORDANCES:
        raise InputError(
            f"{folder / f'Img_{title}.txt'}: row {row + 1}",
            f"is {listed[:200]!r}; photos are named Img_{title}_<Object>_<affordance>_<n> with a known affordance",
        )
    return found["object"], found["affordance"].lower()


def _points_object(folder: Path, title: str, row: int, listed: str) -> str:
    found = _POINTS_NAME.fullmatch(Path(listed).stem)
    if found is None:
        raise InputError(
            f"{folder / f'Point_{title}.txt'}: row {row + 1}",
            f"is {listed[:200]!r}; point files are named Point_{title}_<Object>_<n>",
        )
    return found["object"]


def _trained_objects(folder: Path) -> set[str] | None:
    """Objects of the training photos; None where there is no training list."""
    if not (folder / "Img_Train.txt").exists():
        return None
    photos = read_path_list(folder / "Img_Train.txt")
    return {_photo_name(folder, "Train", row, listed)[0] for row, listed in enumerate(photos)}


def _choose(
    folder: Path, list_name: str, candidates: Sequence[str], photo: str, name: str, affordance: str
) -> AffordancePoints:
    if not candidates:
        raise InputError(str(folder / list_name), f"names no points of {name}, which {photo!r} shows")
    start = zlib.crc32(Path(photo).name.encode()) % len(candidates)
    first: AffordancePoints | None = None
    for listed in (*candidates[start:], *candidates[:start]):
        path = locate(folder, listed, source=str(folder / list_name))
        found = read_affordance_points(path, PIAD_AFFORDANCES, leading_words=2)
        if found.values(affordance).any():
            return found
        first = first or found
    assert first is not None  # noqa: S101 - there is at least one candidate
    return first


def _person_box(path: Path) -> Box | None:
    """The person's box of a labelme file, None where none is labelled."""
    try:
        shapes = read_json_object(path).get("shapes")
    except CheckpointError as error:
        raise InputError(str(path), error.problem) from None
    if not isinstance(shapes, list):
        raise InputError(f"{path}: shapes", "must be a list, as labelme writes it")
    for index, shape in enumerate(shapes):
        label = shape.get("label") if isinstance(shape, dict) else None
        if not isinstance(label, str) or label.lower() not in _PERSON_LABELS:
            continue
        try:
            corners = [(float(x), float(y)) for x, y in shape["points"]]
            left, right = min(x for x, _ in corners), max(x for x, _ in corners)
            top, bottom = min(y for _, y in corners), max(y for _, y in corners)
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: shapes[{index}]", "must have points [[x, y], ...]") from None
        if not (left < right < 1e6 and top < bottom < 1e6 and min(left, top) > -1e6):
            raise InputError(f"{path}: shapes[{index}]", f"is the box {left:g}, {top:g}, {right:g}, {bottom:g}")
        return Box(left, top, right, bottom)
    return None
