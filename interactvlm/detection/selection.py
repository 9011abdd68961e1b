"""From a person selector to the part of the photo that the model will look at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.detection.detector import PERSON, Detection, Detector
from interactvlm.errors import MissingDependencyError, QuestionError
from interactvlm.types import Box, PersonSelector, PointOnPerson, WholePhoto

__all__ = ["SMALLEST_PERSON", "Selection", "crop_for", "select_person"]

SMALLEST_PERSON = 8
"""Pixels: a box given by the caller must be at least this wide and high."""
_MARGIN = 0.5
_INSIDE, _SURER = 0.9, 1.5


@dataclass(frozen=True, slots=True)
class Selection:
    """The person a question is about.

    Attributes:
        person: their box; None when the question is about the whole photo.
        crop: whole pixels of the region to show the model; None: the photo as it is.
        people: everyone the detector found, largest first; empty when it was not asked.
        notice: a sentence for the user when the selector could not be followed to the letter, else "".
    """

    person: Box | None
    crop: Box | None
    people: tuple[Detection, ...] = ()
    notice: str = ""


def select_person(photo: NDArray[np.uint8], selector: PersonSelector, detector: Detector | None) -> Selection:
    """Find the person that `selector` means.

    The photo is cropped only where somebody must be told apart: when a box or point was given, or when more than one
    person is in the photo. The published models were trained on uncropped photos.

    Args:
        photo: RGB uint8 [H, W, 3], upright.
        selector: a box (used as it is), a point (the smallest person around it), the largest person, or nobody.
        detector: None when no detector is installed; then the largest person is the whole photo, with a notice.

    Raises:
        QuestionError: for a box or point outside the photo, or a point on nobody.
        MissingDependencyError: for a point without a detector.
    """
    height, width = photo.shape[:2]
    size = (width, height)
    if isinstance(selector, WholePhoto):
        return Selection(person=None, crop=None)
    if isinstance(selector, Box):
        _check_box(selector, size)
        return Selection(person=selector, crop=crop_for(selector, size))
    if isinstance(selector, PointOnPerson):
        _check_point(selector, size)
        if detector is None:
            raise MissingDependencyError("ai-edge-litert", "detection")
        people = _people(photo, detector)
        around = [person for person in people if _contains(person.box, selector)]
        if not around:
            raise QuestionError(
                "person",
                f"nobody was found at ({selector.x:g}, {selector.y:g}) among {len(people)} people; give a box instead",
            )
        return Selection(person=around[-1].box, crop=crop_for(around[-1].box, size), people=people)
    if detector is None:
        return Selection(
            person=None,
            crop=None,
            notice="No person detector is installed (pip install 'interactvlm[detection]'): the whole photo was used.",
        )
    people = _people(photo, detector)
    if not people:
        return Selection(person=None, crop=None, notice="No person was found: the whole photo was used.")
    crop = crop_for(people[0].box, size) if len(people) > 1 else None
    return Selection(person=people[0].box, crop=crop, people=people)


def crop_for(box: Box, size: tuple[int, int], margin: float = _MARGIN) -> Box:
    """The region around a person that shows what they touch.

    A square wherever the photo allows, because the vision tower sees only the middle square of what it is given; its
    side is the longer side of the person plus `margin` of it (half on each side, enough for a bat or a pair of
    skis), moved back into the photo where it would stick out.

    Args:
        box: the person.
        size: width and height of the photo.
        margin: added length, as a share of the person's longer side.

    Returns:
        A box of whole pixels inside the photo.
    """
    side = max(box.right - box.left, box.bottom - box.top) * (1 + margin)
    left, right = _span((box.left + box.right) / 2, side, size[0])
    top, bottom = _span((box.top + box.bottom) / 2, side, size[1])
    return Box(left, top, right, bottom)


def _span(centre: float, length: float, limit: int) -> tuple[int, int]:
    """`length` pixels around `centre`, moved and then cut to lie in [0, limit]."""
    whole = min(limit, math.ceil(length))
    start = min(max(0, round(centre - whole / 2)), limit - whole)
    return start, start + whole


def _people(photo: NDArray[np.uint8], detector: Detector) -> tuple[Detection, ...]:
    """Everyone in the photo, largest first, without the heads and halves of people found whole."""
    people = [found for found in detector.detect(photo) if found.label == PERSON]
    whole = [one for one in people if not any(_is_part(one, other) for other in people)]
    return tuple(sorted(whole, key=lambda person: -_area(person.box)))


def _is_part(one: Detection, other: Detection) -> bool:
    """Whether `one` is but a piece of `other`: almost all of it lies inside, and the whole is the surer find."""
    width = min(one.box.right, other.box.right) - max(one.box.left, other.box.left)
    height = min(one.box.bottom, other.box.bottom) - max(one.box.top, other.box.top)
    inside = max(0.0, width) * max(0.0, height)
    return other.score >= _SURER * one.score and inside >= _INSIDE * _area(one.box)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def _contains(box: Box, point: PointOnPerson) -> bool:
    return box.left <= point.x < box.right and box.top <= point.y < box.bottom


def _check_box(box: Box, size: tuple[int, int]) -> None:
    edges = (box.left, box.top, box.right, box.bottom)
    shown = ", ".join(f"{edge:g}" for edge in edges)
    if not all(math.isfinite(edge) for edge in edges):
        raise QuestionError("person", f"the box ({shown}) is not finite")
    if box.left < 0 or box.top < 0 or box.right > size[0] or box.bottom > size[1]:
        raise QuestionError("person", f"the box ({shown}) leaves the photo of {size[0]} x {size[1]} pixels")
    if min(box.right - box.left, box.bottom - box.top) < SMALLEST_PERSON:
        raise QuestionError(
            "person", f"the box ({shown}) must be (left, top, right, bottom), {SMALLEST_PERSON} pixels or more a side"
        )


def _check_point(point: PointOnPerson, size: tuple[int, int]) -> None:
    if not (0 <= point.x < size[0] and 0 <= point.y < size[1]):
        raise QuestionError(
            "person", f"the point ({point.x:g}, {point.y:g}) leaves the photo of {size[0]} x {size[1]} pixels"
        )
