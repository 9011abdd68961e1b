from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.retrieval.retriever import ImageQuery
from interactvlm.retrieval.view_crops import object_crop, query_box
from interactvlm.retrieval.view_renders import BACKGROUND, CROP_MARGIN
from interactvlm.types import Box

PHOTO = np.full((60, 100, 3), 200, np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.tuples(*[st.floats(-50, 150, allow_nan=False)] * 4),
    st.integers(1, 4),
)
def test_any_box_gives_a_crop_or_one_sentence(height: int, width: int, corners: tuple[float, ...], cells: int) -> None:
    photo = np.full((height, width, 3), 200, np.uint8)
    query = ImageQuery(photo, Box(*corners))
    try:
        box = query_box(query)
    except InputError:
        left, top, right, bottom = corners
        assert min(right, width) <= max(left, 0) or min(bottom, height) <= max(top, 0)
        return
    assert 0 <= box.left < box.right <= width
    assert 0 <= box.top < box.bottom <= height
    image, share = object_crop(query, 14 * cells)
    assert image.shape == (14 * cells, 14 * cells, 3)
    assert share.shape == (14 * cells, 14 * cells)
    assert share.min() >= 0
    assert share.max() <= 1


def test_without_box_and_mask_the_whole_picture_is_the_object() -> None:
    assert query_box(ImageQuery(PHOTO)) == Box(0.0, 0.0, 100.0, 60.0)
    image, share = object_crop(ImageQuery(PHOTO), 100)
    assert share.mean() == pytest.approx(0.6 * (1 - 2 * CROP_MARGIN) ** 2, abs=0.03)
    assert np.abs(image[50, 50].astype(int) - 200).max() <= 1
    assert np.abs(image[2, 2].astype(int) - BACKGROUND).max() <= 1  # outside the photo


def test_the_box_keeps_what_is_around_it_and_the_mask_does_not() -> None:
    photo, mask = PHOTO.copy(), np.zeros((60, 100), bool)
    mask[20:40, 30:50] = True
    photo[mask] = (255, 0, 0)
    seen, share = object_crop(ImageQuery(photo, mask=mask), 98)
    assert share[49, 49] == pytest.approx(1)
    assert share.mean() == pytest.approx((1 - 2 * CROP_MARGIN) ** 2, abs=0.03)
    assert np.abs(seen[0, 0].astype(int) - BACKGROUND).max() <= 1
    boxed, _ = object_crop(ImageQuery(photo, Box(30, 20, 50, 40)), 98)
    assert np.abs(boxed[0, 0].astype(int) - 200).max() <= 1
    assert np.abs(seen[49, 49].astype(int) - boxed[49, 49]).max() <= 1


@pytest.mark.parametrize("roll", [90.0, 180.0, 270.0])
@pytest.mark.parametrize("masked", [True, False])
def test_a_turned_object_is_turned_back(roll: float, masked: bool) -> None:
    upright = np.full((100, 100, 3), 90, np.uint8)
    upright[10:50, 40:60], upright[50:90, 40:60] = (255, 0, 0), (0, 0, 255)  # red on top of blue
    mask = np.zeros((100, 100), bool)
    mask[10:90, 40:60] = True
    turns = -int(roll) // 90  # numpy turns counterclockwise
    photo, turned_mask = (np.ascontiguousarray(np.rot90(one, turns)) for one in (upright, mask))
    rows, columns = np.flatnonzero(turned_mask.any(axis=1)), np.flatnonzero(turned_mask.any(axis=0))
    box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    query = ImageQuery(photo, box, turned_mask if masked else None, turned=True)
    seen, share = object_crop(query, 98, roll=roll)
    plain, plain_share = object_crop(ImageQuery(upright, Box(40, 10, 60, 90), mask if masked else None), 98)
    assert seen[25, 49, 0] > 200 > 60 > seen[25, 49, 2]
    assert seen[75, 49, 2] > 200 > 60 > seen[75, 49, 0]
    assert np.abs(share - plain_share).mean() < 0.03
    assert np.abs(seen.astype(int) - plain).mean() < 8


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 359.9), st.integers(1, 40), st.integers(1, 40))
def test_any_turn_of_any_box_gives_a_crop(roll: float, height: int, width: int) -> None:
    photo = np.full((height, width, 3), 200, np.uint8)
    image, share = object_crop(ImageQuery(photo, Box(0, 0, width / 2, 0.3)), 28, roll=roll)
    assert image.shape == (28, 28, 3)
    assert 0 < share.max() <= 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (ImageQuery(PHOTO[..., 0]), "photo"),
        (ImageQuery(PHOTO.astype(np.float32)), "photo"),  # type: ignore[arg-type]
        (ImageQuery(PHOTO[:0]), "photo"),
        (ImageQuery(PHOTO, mask=np.zeros((60, 100), bool)), "mask"),
        (ImageQuery(PHOTO, mask=np.ones((10, 10), bool)), "mask"),
        (ImageQuery(PHOTO, Box(200, 0, 300, 10)), "box"),
        (ImageQuery(PHOTO, Box(10, 10, 10, 20)), "box"),
        (ImageQuery(PHOTO, Box(0, 0, math.nan, 10)), "box"),
        (ImageQuery(PHOTO, Box(-math.inf, 0, 10, 10)), "box"),
    ],
)
def test_malformed_queries_are_one_sentence(query: ImageQuery, field: str) -> None:
    with pytest.raises(InputError) as caught:
        object_crop(query, 28)
    assert caught.value.field == field
