"""DAMON (paper, section 4; Tripathi et al., ICCV 2023): photos with contact on SMPL's 6,890 vertices, by object.

One npz file a split, photos beside it; the user brings both (docs/datasets.md). Read from it: `imgname`,
`contact_label` [N, 6890] and `contact_label_objectwise` (N dicts, object -> vertex ids); "supporting" is the ground.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from interactvlm.datasets.npz_rows import LabelFile
from interactvlm.datasets.paths import locate, read_listed_photo
from interactvlm.datasets.sample import ContactSample, HumanContact
from interactvlm.datasets.vertices import ids_in_contact, vertex_ids
from interactvlm.errors import InputError
from interactvlm.types import Task

__all__ = ["DAMON_VERTICES", "GROUND_NAME", "read_damon"]

DAMON_VERTICES = 6890
GROUND_NAME = "supporting"
"""DAMON's word for the ground and other supports."""


def read_damon(
    labels: Path, photos: Path, *, split: str, missing: Callable[[str], None] | None = None
) -> Iterator[ContactSample]:
    """The samples of one label file, in its order, one at a time.

    Each has binary contact, scene contact where "supporting" is labelled, and semantic contact for every object.

    Args:
        labels: the npz file.
        photos: folder below which the photos lie, at the listed path or any end of it.
        split: written into the tag "split" ("train", "test").
        missing: told of each photo that is not there, and the sample is left out; None: that is an error.

    Raises:
        InputError: the file or one of its rows is malformed, or a photo is not there.
        PhotoError: a photo is empty or too large.
    """
    file = LabelFile(labels)
    names = ("imgname", "contact_label", "contact_label_objectwise")
    counts = {name: file.count(name) for name in names}
    if len(set(counts.values())) != 1:
        raise InputError(str(labels), f"has different numbers of rows: {counts}")
    for row, (name, anywhere, by_object) in enumerate(zip(*map(file.rows, names), strict=True)):
        human = _contacts(file, row, anywhere, by_object)
        listed = _text(file, row, name)
        photo = locate(photos, listed, source=f"{labels}: imgname[{row}]", missing=missing)
        if photo is not None:
            yield ContactSample(
                sample_id=f"damon-{split}-{row:05d}",
                photo=read_listed_photo(photo),
                human=human,
                tags={"source": "damon", "split": split, "photo": photo.name},
            )


def _text(file: LabelFile, row: int, name: Any) -> str:
    text = name.item() if isinstance(name, np.ndarray) and name.ndim == 0 else name
    if not isinstance(text, str) or not text.strip():
        raise file.error(f"imgname[{row}]", f"must be a path, not {type(text).__name__}")
    return text


def _contacts(file: LabelFile, row: int, anywhere: Any, by_object: Any) -> tuple[HumanContact, ...]:
    touched = ids_in_contact(anywhere, DAMON_VERTICES, source=f"{file.path}: contact_label[{row}]")
    contacts = [HumanContact(task=Task.BINARY, object_name="", vertex_ids=touched, topology="smpl")]
    field = f"contact_label_objectwise[{row}]"
    if not isinstance(by_object, dict):
        raise file.error(field, f"must be a dict of vertex ids by object, not {type(by_object).__name__}")
    for name, ids in by_object.items():
        found = vertex_ids(ids, DAMON_VERTICES, source=f"{file.path}: {field}[{name[:64]!r}]")
        plain = " ".join(name.replace("_", " ").split()).lower()
        if plain == GROUND_NAME:
            contacts.append(HumanContact(task=Task.SCENE, object_name="", vertex_ids=found, topology="smpl"))
        elif not plain:
            raise file.error(field, "has an object without a name")
        else:
            contacts.append(
                HumanContact(
                    task=Task.SEMANTIC,
                    object_name=plain,
                    vertex_ids=found,
                    topology="smpl",
                    category=plain.replace(" ", "_"),
                )
            )
    return tuple(contacts)
