from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from interactvlm.detection.ssd import decode_boxes, generate_anchors, suppress


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_anchors_follow_the_published_configuration():
    anchors = generate_anchors()
    assert anchors.shape == (1917, 4)
    first = np.array([[0.5 / 19, 0.5 / 19, 0.1, 0.1]])
    np.testing.assert_allclose(anchors[:1], first, rtol=1e-6)
    np.testing.assert_allclose(anchors[1, 2:], [0.2 / 2**0.5, 0.2 * 2**0.5], rtol=1e-6)
    np.testing.assert_allclose(anchors[3, :2], [0.5 / 19, 1.5 / 19], rtol=1e-6)
    np.testing.assert_allclose(anchors[1083, 2:], [0.35, 0.35], rtol=1e-6)
    np.testing.assert_allclose(anchors[-1], [0.5, 0.5, 0.95**0.5, 0.95**0.5], rtol=1e-6)


@given(hnp.arrays(np.float32, (1917, 4), elements=st.floats(-5, 5, width=32)))
def test_decoding_inverts_the_box_coding(encodings):
    anchors = generate_anchors()
    boxes = decode_boxes(encodings, anchors).astype(np.float64)
    centre = (boxes[:, 1::-1] + boxes[:, 3:1:-1]) / 2
    size = boxes[:, 3:1:-1] - boxes[:, 1::-1]
    np.testing.assert_allclose((centre - anchors[:, :2]) / anchors[:, 2:] * 10, encodings[:, :2], atol=1e-3)
    np.testing.assert_allclose(np.log(size / anchors[:, 2:]) * 5, encodings[:, 2:], atol=1e-3)


@given(st.lists(st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2, st.integers(0, 100)), max_size=12))
def test_suppression_keeps_the_best_of_every_overlapping_group(rows):
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows], dtype=np.float32).reshape(-1, 4)
    scores = np.array([score for *_, score in rows], dtype=np.float32)
    kept = suppress(boxes, scores, overlap=0.5)
    assert [float(scores[i]) for i in kept] == sorted((float(scores[i]) for i in kept), reverse=True)
    assert all(iou(boxes[i], boxes[j]) <= 0.5 + 1e-6 for i in kept for j in kept if i != j)
    for lost in set(range(len(rows))) - set(kept):
        assert any(iou(boxes[lost], boxes[i]) > 0.5 - 1e-6 and scores[i] >= scores[lost] for i in kept)
