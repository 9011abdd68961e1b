from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.detection import Detection, crop_for, select_person
from interactvlm.errors import MissingDependencyError, QuestionError
from interactvlm.types import Box, LargestPerson, PointOnPerson, WholePhoto

PHOTO = np.zeros((300, 400, 3), dtype=np.uint8)
BIG = Detection("person", 0.5, Box(100, 50, 200, 250))
SMALL = Detection("person", 0.6, Box(180, 100, 240, 200))
HEAD_OF_BIG = Detection("person", 0.3, Box(120, 55, 160, 100))
CAR = Detection("car", 0.9, Box(0, 0, 400, 300))


class Fake:
    def __init__(self, *found):
        self.found = list(found)

    def detect(self, photo):
        assert photo is PHOTO
        return self.found


def test_the_largest_person_is_the_default_and_is_cropped_only_from_company():
    alone = select_person(PHOTO, LargestPerson(), Fake(CAR, BIG))
    assert (alone.person, alone.crop, alone.notice) == (BIG.box, None, "")
    in_company = select_person(PHOTO, LargestPerson(), Fake(SMALL, CAR, BIG))
    assert in_company.person == BIG.box
    assert in_company.people == (BIG, SMALL)
    assert in_company.crop == Box(0, 0, 300, 300)


def test_a_piece_of_a_person_is_no_second_person():
    assert select_person(PHOTO, LargestPerson(), Fake(BIG, HEAD_OF_BIG)).people == (BIG,)


def test_a_point_means_the_smallest_person_around_it():
    assert select_person(PHOTO, PointOnPerson(190, 150), Fake(BIG, SMALL)).person == SMALL.box
    only_big = select_person(PHOTO, PointOnPerson(110, 60), Fake(BIG, SMALL))
    assert only_big.person == BIG.box
    assert only_big.crop is not None
    with pytest.raises(QuestionError, match=r"person: nobody was found at \(10, 10\) among 2 people"):
        select_person(PHOTO, PointOnPerson(10, 10), Fake(BIG, SMALL))
    with pytest.raises(QuestionError, match="leaves the photo of 400 x 300 pixels"):
        select_person(PHOTO, PointOnPerson(400, 10), Fake(BIG))
    with pytest.raises(QuestionError, match="leaves the photo"):
        select_person(PHOTO, PointOnPerson(float("nan"), 10), Fake(BIG))


def test_a_box_is_taken_as_it_is():
    chosen = select_person(PHOTO, Box(10, 20, 60, 120), None)
    assert chosen.person == Box(10, 20, 60, 120)
    assert chosen.crop == Box(0, 0, 150, 150)


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        (Box(-1, 0, 50, 50), "leaves the photo of 400 x 300"),
        (Box(0, 0, 50, 301), "leaves the photo of 400 x 300"),
        (Box(50, 0, 10, 50), "8 pixels or more a side"),
        (Box(0, 0, 7, 50), "8 pixels or more a side"),
        (Box(0, 0, float("inf"), 50), "is not finite"),
        (Box(0, float("nan"), 20, 50), "is not finite"),
    ],
)
def test_impossible_boxes_are_refused(box, problem):
    with pytest.raises(QuestionError, match=f"person: the box .*{problem}"):
        select_person(PHOTO, box, None)


def test_without_person_or_detector_the_whole_photo_is_used_and_said():
    nobody = select_person(PHOTO, LargestPerson(), Fake(CAR))
    assert (nobody.person, nobody.crop) == (None, None)
    assert nobody.notice == "No person was found: the whole photo was used."
    blind = select_person(PHOTO, LargestPerson(), None)
    assert (blind.crop, blind.notice) == (
        None,
        "No person detector is installed (pip install 'interactvlm[detection]'): the whole photo was used.",
    )
    with pytest.raises(MissingDependencyError, match="ai-edge-litert"):
        select_person(PHOTO, PointOnPerson(10, 10), None)
    assert select_person(PHOTO, WholePhoto(), Fake(BIG)).crop is None


@given(
    size=st.tuples(st.integers(8, 3000), st.integers(8, 3000)),
    ends=st.tuples(*[st.floats(0, 1)] * 4),
    margin=st.floats(0, 2),
)
def test_a_crop_holds_the_person_and_stays_inside(size, ends, margin):
    left, right = sorted(end * size[0] for end in ends[:2])
    top, bottom = sorted(end * size[1] for end in ends[2:])
    right, bottom = max(right, min(size[0], left + 1)), max(bottom, min(size[1], top + 1))
    crop = crop_for(Box(left, top, right, bottom), size, margin)
    assert 0 <= crop.left <= left + 1
    assert right - 1 <= crop.right <= size[0]
    assert 0 <= crop.top <= top + 1
    assert bottom - 1 <= crop.bottom <= size[1]
    width, height = crop.right - crop.left, crop.bottom - crop.top
    assert width == height or (width == size[0] if width < height else height == size[1]), "square but for the photo"
    assert all(edge == int(edge) for edge in (crop.left, crop.top, crop.right, crop.bottom))
