"""What is known of a photo, as the cells of the vision tower's grid and the questions about it see it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.body.parts import PART_NAMES, parts_in_contact
from interactvlm.datasets.sample import ContactSample, HumanContact
from interactvlm.detection.selection import select_person
from interactvlm.objects.categories import CATEGORIES
from interactvlm.photo import load_photo
from interactvlm.training.sight.words import THINGS
from interactvlm.types import Task, WholePhoto
from interactvlm.vlm.preprocess import PhotoPreprocessor
from interactvlm.vlm.prompts import ANY_OBJECT, SCENE

__all__ = ["CELL", "SightPhoto", "questions", "see"]

#: Samples along the side of one cell; what lies between them is not noticed.
CELL = 4
_CLASS = {name: index for index, name in enumerate(THINGS, start=1)}
_PERSON, _TOUCHED = _CLASS["person"], len(PART_NAMES)


@dataclass(frozen=True, slots=True, eq=False)
class SightPhoto:
    """The truth about one photo.

    Attributes:
        shown: uint8 [S, S], what each sample of the square that the tower sees shows (0 nothing, then THINGS); None
            where nobody knows.
        touched: uint16 [S, S], bit p: body part p touches what the sample shows; None likewise.
        names: what is asked about.
        contacts: float32 [names, 16]: the 15 body parts that touch it, and whether any does.
    """

    shown: NDArray[np.uint8] | None
    touched: NDArray[np.uint16] | None
    names: tuple[str, ...]
    contacts: NDArray[np.float32]


def see(
    sample: ContactSample,
    geometry: Mapping[str, Any] | None,
    *,
    preprocessor: PhotoPreprocessor,
    cells: int,
    part_index: NDArray[np.uint8],
) -> SightPhoto:
    """What is known of one photo.

    Args:
        sample: the annotated photo.
        geometry: its geometry column (see `datasets.shard_format`), None where there is none.
        preprocessor: of the vision tower: the masks are cut out as the photo is.
        cells: cells along the side of the tower's grid.
        part_index: uint8 [V] of the body.
    """
    contacts = [_contact(human, part_index) for human in sample.human]
    names = tuple(_name(human) for human in sample.human)
    values = np.stack(contacts) if contacts else np.zeros((0, _TOUCHED + 1), np.float32)
    if geometry is None:
        return SightPhoto(None, None, names, values)
    labels = _cut_out(sample, geometry["masks"], preprocessor, cells * CELL)
    classes, bits = _objects(geometry, dict(zip(names, values, strict=True)))
    return SightPhoto(classes[labels], bits[labels], names, values)


def questions(photos: Sequence[SightPhoto]) -> Iterator[tuple[int, str, NDArray[np.float32]]]:
    """(photo, name, contact) of all that is asked."""
    for index, photo in enumerate(photos):
        for name, contact in zip(photo.names, photo.contacts, strict=True):
            yield index, name, contact


def _name(human: HumanContact) -> str:
    return {Task.BINARY: ANY_OBJECT, Task.SCENE: SCENE}.get(human.task, human.object_name)


def _contact(human: HumanContact, part_index: NDArray[np.uint8]) -> NDArray[np.float32]:
    touched = np.zeros(len(part_index), dtype=bool)
    touched[human.vertex_ids] = True
    found = np.zeros(_TOUCHED + 1, np.float32)
    if touched.any():
        named = parts_in_contact(touched, part_index)
        most = int(np.bincount(part_index[touched], minlength=_TOUCHED).argmax())
        found[[PART_NAMES.index(name) for name in named] or [most]] = 1
        found[_TOUCHED] = 1
    return found


def _cut_out(sample: ContactSample, masks: bytes, preprocessor: PhotoPreprocessor, side: int) -> NDArray[np.uint8]:
    """The masks of the square that the vision tower sees, sampled at `side` x `side` places."""
    labels = np.asarray(Image.open(io.BytesIO(masks)))
    photo = load_photo(sample.photo)
    region = select_person(photo, sample.person or WholePhoto(), None).crop
    if labels.shape != photo.shape[:2]:
        labels = np.asarray(Image.fromarray(labels).resize(photo.shape[1::-1], Image.Resampling.NEAREST))
    if region is not None:
        labels = labels[int(region.top) : int(region.bottom), int(region.left) : int(region.right)]
    # The preprocessor brings the shorter side to `shortest_edge` and keeps a square of `crop_size` from the middle.
    kept = min(labels.shape) * preprocessor.crop_size / preprocessor.shortest_edge
    steps = (np.arange(side) + 0.5) / side * kept
    rows, columns = ((length - kept) / 2 + steps for length in labels.shape)
    return labels[np.ix_(rows.astype(int), columns.astype(int))]


def _objects(
    geometry: Mapping[str, Any], contacts: Mapping[str, NDArray[np.float32]]
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Class and touching parts of every label of the masks: the background, people, objects."""
    classes = np.zeros(256, np.uint8)
    bits = np.zeros(256, np.uint16)
    people = int(geometry["people"])
    classes[1 : 1 + people] = _PERSON
    for number, name in enumerate(geometry["names"], start=1 + people):
        kinds = [kind for kind in CATEGORIES.values() if name == kind.name or name in kind.synonyms]
        if not kinds or number > 255:
            continue
        classes[number] = _CLASS[kinds[0].name]
        contact = next((contacts[word] for word in (name, kinds[0].name) if word in contacts), None)
        if contact is not None:
            bits[number] = int(sum(1 << part for part in np.flatnonzero(contact[:_TOUCHED])))
    return classes, bits
