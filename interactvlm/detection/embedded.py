"""The detector that ships with the package: SSD-MobileNetV2, 23 classes of Open Images, on the CPU.

The network looks at 300 x 300 pixels, so a wide photo is squeezed and its people turn thin. It is therefore shown the
whole photo and, besides, overlapping squares of its short side; what a square cuts off is left to its neighbours.
"""

from __future__ import annotations

import math
from importlib.resources import as_file, files
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.detection.detector import Detection
from interactvlm.detection.ssd import decode_boxes, generate_anchors, suppress
from interactvlm.errors import MissingDependencyError
from interactvlm.types import Box

__all__ = ["EmbeddedDetector"]

_INPUT = 300
_WORKING_SIDE = 2 * _INPUT
"""Photos are reduced to this short side first: finer detail never reaches the network."""
_SQUARE_STEP = 1 / 3
"""Squares follow each other at most this share of their side apart, ..."""
_MOST_SQUARES = 9
"""... but a panorama gets no more than these."""
_SQUARE_FROM_ASPECT = 1.05
_CUT_MARGIN = 0.03
"""A box this close (share of the square's side) to an edge inside the photo is taken for cut off."""
_OVERLAP = 0.45

_Region = tuple[int, int, int, int]


class EmbeddedDetector:
    """Finds people, furniture, vessels, vehicles and the like, in about 0.1 s a photo on two cores.

    Args:
        minimum_score: detections below are dropped. The network is cautious: even a large
            person in front of a busy background may score 0.3.
        threads: CPU threads of one call.

    Raises:
        MissingDependencyError: when ai-edge-litert is not installed.
    """

    def __init__(self, *, minimum_score: float = 0.25, threads: int = 2) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise MissingDependencyError("ai-edge-litert", "detection") from None
        assets = files("interactvlm") / "assets" / "detector"
        self.labels = tuple((assets / "labels.txt").read_text(encoding="utf-8").lower().split("\n"))
        with as_file(assets / "ssd_mobilenetv2_oidv4_fp16.tflite") as path:
            self._interpreter: Any = Interpreter(model_content=path.read_bytes(), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = {detail["name"]: detail["index"] for detail in self._interpreter.get_output_details()}
        self._encodings = outputs["raw_outputs/box_encodings"]
        self._scores = outputs["raw_outputs/class_predictions"]
        self._anchors = generate_anchors()
        self._minimum_score = minimum_score
        self._lock = Lock()  # an interpreter holds one set of tensors

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Everything found in `photo` (RGB uint8 [H, W, 3], upright), best score first."""
        picture = Image.fromarray(photo)
        scale = min(1.0, _WORKING_SIDE / min(picture.size))
        if scale < 1:
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        found = [self._look(picture, region) for region in _regions(*picture.size)]
        boxes = np.concatenate([boxes for boxes, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        to_photo = np.array([photo.shape[1] / picture.width, photo.shape[0] / picture.height] * 2, dtype=np.float32)
        boxes = np.clip(boxes * to_photo, 0, np.array([photo.shape[1], photo.shape[0]] * 2, dtype=np.float32))
        return self._name(boxes, scores)

    def _look(self, picture: Image.Image, region: _Region) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes float32 [N, 4] in pixels of `picture` and class scores float32 [N, 24] of one region."""
        view = picture.resize((_INPUT, _INPUT), Image.Resampling.BILINEAR, box=region)
        pixels = np.asarray(view, dtype=np.float32)[None] / 127.5 - 1
        with self._lock:
            self._interpreter.set_tensor(self._input, pixels)
            self._interpreter.invoke()
            encodings = self._interpreter.get_tensor(self._encodings)[0]
            logits = self._interpreter.get_tensor(self._scores)[0]
        scores = 1 / (1 + np.exp(-logits))
        left, top, right, bottom = region
        side = np.array([right - left, bottom - top] * 2, dtype=np.float32)
        boxes = decode_boxes(encodings, self._anchors) * side + np.array([left, top] * 2, dtype=np.float32)
        inner = np.array(region) + _CUT_MARGIN * side * [1, 1, -1, -1]
        at_photo_edge = np.array([left == 0, top == 0, right == picture.width, bottom == picture.height])
        whole = (boxes[:, :2] > inner[:2]) | at_photo_edge[:2], (boxes[:, 2:] < inner[2:]) | at_photo_edge[2:]
        seen = np.all(np.concatenate(whole, axis=1), axis=1) & (scores[:, 1:].max(axis=1) >= self._minimum_score)
        return boxes[seen], scores[seen]

    def _name(self, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[Detection]:
        found = []
        for label in range(1, len(self.labels)):  # class 0 is the background
            chosen = np.flatnonzero(scores[:, label] >= self._minimum_score)
            for index in chosen[suppress(boxes[chosen], scores[chosen, label], overlap=_OVERLAP)]:
                box = Box(*(float(edge) for edge in boxes[index]))
                found.append(Detection(label=self.labels[label], score=float(scores[index, label]), box=box))
        return sorted(found, key=lambda detection: -detection.score)


def _regions(width: int, height: int) -> list[_Region]:
    """The whole picture and the squares along its longer side: left, top, right, bottom."""
    regions = [(0, 0, width, height)]
    side, length = min(width, height), max(width, height)
    if length >= _SQUARE_FROM_ASPECT * side:
        count = min(_MOST_SQUARES, 1 + math.ceil((length - side) / (side * _SQUARE_STEP)))
        for start in (round((length - side) * index / (count - 1)) for index in range(count)):
            wide = width > height
            regions.append((start, 0, start + side, side) if wide else (0, start, side, start + side))
    return regions
