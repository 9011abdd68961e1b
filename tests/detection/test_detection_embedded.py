from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from interactvlm.detection import EmbeddedDetector
from interactvlm.detection.embedded import _regions
from interactvlm.errors import MissingDependencyError


def people(detections):
    return [found for found in detections if found.label == "person"]


def edges(box):
    return np.array([box.left, box.top, box.right, box.bottom])


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1600, 1200), (400, 400)])
def test_a_rendered_person_is_found_where_they_stand(detector, draw_people, size):
    photo, [true] = draw_people(*size, [(0.0, 3.5)])
    found = people(detector.detect(photo))
    assert found[0].score > 0.4
    assert np.abs(edges(found[0].box) - true).max() < 0.12 * max(true[2] - true[0], true[3] - true[1])


def test_people_of_a_wide_photo_are_told_apart(detector, draw_people):
    photo, true = draw_people(1200, 400, [(-2.6, 5.0), (0.0, 5.0), (2.6, 5.0)])
    found = sorted(people(detector.detect(photo)), key=lambda one: one.box.left)
    middles = [(one.box.left + one.box.right) / 2 for one in found if one.score > 0.35]
    assert middles == pytest.approx([(left + right) / 2 for left, _, right, _ in true], abs=25)


def test_nobody_is_found_on_an_empty_field(detector, draw_people):
    photo, _ = draw_people(640, 480, [])
    assert people(detector.detect(photo)) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 2000, 3), (2000, 3, 3)])
def test_odd_shapes_are_no_trouble(detector, shape):
    for found in detector.detect(np.full(shape, 127, dtype=np.uint8)):
        assert 0 <= found.box.left <= found.box.right <= shape[1]
        assert 0 <= found.box.top <= found.box.bottom <= shape[0]


def test_results_are_ordered_lower_case_and_above_the_threshold(detector, draw_people):
    photo, _ = draw_people(640, 480, [(-0.8, 4.0), (0.9, 3.0)])
    found = detector.detect(photo)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(one.score >= 0.25 and one.label in detector.labels[1:] for one in found)
    assert len(detector.labels) == 24
    assert all(label == label.lower() for label in detector.labels)


def test_threads_share_a_detector(detector, draw_people):
    photos = [draw_people(320, 240, [(x, 3.5)])[0] for x in (-0.5, 0.0, 0.5)]
    alone = [detector.detect(photo) for photo in photos]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(detector.detect, photos * 2)) == alone * 2


def test_squares_cover_the_photo_and_stay_few():
    assert _regions(400, 400) == [(0, 0, 400, 400)]
    assert _regions(600, 400) == [(0, 0, 600, 400), (0, 0, 400, 400), (100, 0, 500, 400), (200, 0, 600, 400)]
    assert _regions(400, 600)[-1] == (0, 200, 400, 600)
    assert len(_regions(100_000, 300)) == 10


def test_without_the_runtime_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'interactvlm\[detection\]'"):
        EmbeddedDetector()
