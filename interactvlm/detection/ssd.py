"""Decoding a single-shot detector's raw outputs: anchors, box coding, non-maximum suppression.

Numbers of the TensorFlow object-detection API's SSD configuration for MobileNets at 300 x 300 (Liu et al., "SSD:
Single Shot MultiBox Detector", section 2.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_boxes", "generate_anchors", "suppress"]

_GRIDS = (19, 10, 5, 3, 2, 1)
_SMALLEST, _LARGEST = 0.2, 0.95
_CENTRE_SCALE, _SIZE_SCALE = 10.0, 5.0


def generate_anchors() -> NDArray[np.float32]:
    """Anchors in the order of the network's outputs.

    Returns:
        float32 [1917, 4]: centre y, centre x, height, width, as shares of the picture.
    """
    steps = len(_GRIDS) - 1
    scales = [_SMALLEST + (_LARGEST - _SMALLEST) * layer / steps for layer in range(len(_GRIDS))] + [1.0]
    anchors = []
    for layer, grid in enumerate(_GRIDS):
        scale = scales[layer]
        if layer == 0:  # the finest grid carries three shapes only
            shapes = [(1.0, 0.1), (2.0, scale), (0.5, scale)]
        else:
            shapes = [(ratio, scale) for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
            shapes.append((1.0, float(np.sqrt(scale * scales[layer + 1]))))
        centres = (np.arange(grid) + 0.5) / grid
        sizes = np.array([(size / np.sqrt(ratio), size * np.sqrt(ratio)) for ratio, size in shapes])
        y, x, shape = np.meshgrid(centres, centres, np.arange(len(shapes)), indexing="ij")
        anchors.append(np.concatenate([np.stack([y, x], axis=-1), sizes[shape]], axis=-1).reshape(-1, 4))
    return np.concatenate(anchors).astype(np.float32)


def decode_boxes(encodings: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes from their offsets to the anchors.

    Args:
        encodings: float32 [A, 4]: scaled offsets of centre y, centre x and logarithms of height, width.
        anchors: float32 [A, 4] of `generate_anchors`.

    Returns:
        float32 [A, 4]: left, top, right, bottom, as shares of the picture.
    """
    centre = encodings[:, :2] / _CENTRE_SCALE * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(encodings[:, 2:] / _SIZE_SCALE) * anchors[:, 2:] / 2
    low, high = centre - half, centre + half
    return np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1).astype(np.float32)


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], *, overlap: float) -> list[int]:
    """Greedy non-maximum suppression.

    Args:
        boxes: float32 [N, 4]: left, top, right, bottom.
        scores: float32 [N].
        overlap: a box goes when its intersection over union with a better one is above this.

    Returns:
        Indices of the boxes that stay, best first.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        width = np.minimum(boxes[best, 2], boxes[rest, 2]) - np.maximum(boxes[best, 0], boxes[rest, 0])
        height = np.minimum(boxes[best, 3], boxes[rest, 3]) - np.maximum(boxes[best, 1], boxes[rest, 1])
        shared = np.clip(width, 0, None) * np.clip(height, 0, None)
        union = areas[best] + areas[rest] - shared
        order = rest[shared <= overlap * union]
    return kept
