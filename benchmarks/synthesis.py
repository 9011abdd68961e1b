"""Synthetic scenes a second on one core: composing, rendering and encoding apart; and what rendering is spent on.

    python -m benchmarks.synthesis --json

Seconds are processor time of one thread, medians over scenes. The baseline renders every sample of the doubled picture
(supersampling, four times the shading) where ours shades one sample for each different surface in a pixel; both in
one run. `ratio` is baseline over ours.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from unittest.mock import patch

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

from interactvlm.synthesis import render as rendering  # noqa: E402
from interactvlm.synthesis.camera import Shot  # noqa: E402
from interactvlm.synthesis.compose import build_scene  # noqa: E402
from interactvlm.synthesis.generate import SCENES_A_SHARD  # noqa: E402
from interactvlm.synthesis.labels import label  # noqa: E402
from interactvlm.synthesis.render import render  # noqa: E402
from interactvlm.synthesis.scene import Scene  # noqa: E402

__all__ = ["main"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="few scenes")
    arguments = parser.parse_args()
    count = 2 if arguments.quick else 30
    print("compiling", file=sys.stderr)
    render(build_scene(10**6, split="train"))

    compose_s, render_s, encode_s, sizes, scenes = [], [], [], [], []
    for seed in range(count):
        seconds, scene = _timed(lambda seed=seed: build_scene(seed, split="train"))
        compose_s.append(seconds)
        scenes.append(scene)
        seconds, picture = _timed(lambda scene=scene: render(scene))
        render_s.append(seconds)
        seconds, sample = _timed(
            lambda scene=scene, picture=picture: label(scene, picture, sample_id="x", split="train")
        )
        encode_s.append(seconds)
        sizes.append(len(sample.photo))
        print(f"{seed + 1}/{count}", file=sys.stderr)
    baseline_s = [_timed(lambda scene=scene: _supersampled(scene))[0] for scene in scenes]
    whole = [sum(parts) for parts in zip(compose_s, render_s, encode_s, strict=True)]
    result = {
        "scenes": count,
        "compose_s": float(np.median(compose_s)),
        "render_s": float(np.median(render_s)),
        "encode_s": float(np.median(encode_s)),
        "pictures_per_core_second": 1 / float(np.mean(render_s) + np.mean(encode_s)),
        "scenes_per_core_second": 1 / float(np.mean(whole)),
        **{f"render_{name}_s": seconds for name, seconds in _parts(scenes).items()},
        "jpeg_bytes": int(np.median(sizes)),
        "scenes_a_shard": SCENES_A_SHARD,
        "peak_memory_mb": _peak_memory_mb(),
        "supersampled_s": float(np.median(baseline_s)),
        "ratio": float(np.mean(baseline_s) / np.mean(render_s)),
    }
    print(json.dumps(result, indent=None if arguments.json else 2))


def _timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def _parts(scenes: list[Scene]) -> dict[str, float]:
    """Median seconds a picture inside the renderer's main steps."""
    spent: dict[str, float] = {}

    def watched(name: str, work: Callable[..., object]) -> Callable[..., object]:
        def call(*values: object, **named: object) -> object:
            started = time.process_time()
            try:
                return work(*values, **named)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - started

        return call

    steps = {"rasterize": "rasterize", "sample_background": "background", "develop": "lens", "shade_pixels": "shading"}
    seconds: dict[str, list[float]] = {name: [] for name in steps.values()}
    for scene in scenes:
        spent.clear()
        patches = [
            patch.object(rendering, step, watched(name, getattr(rendering, step))) for step, name in steps.items()
        ]
        for each in patches:
            each.start()
        try:
            render(scene)
        finally:
            for each in patches:
                each.stop()
        for name in seconds:
            seconds[name].append(spent.get(name, 0.0))
    return {name: float(np.median(values)) for name, values in seconds.items()}


def _supersampled(scene: Scene) -> None:
    """The same picture at twice its size, then halved: what smooth edges cost without sharing samples."""

    def doubled(scene_: Scene, stage: object) -> Shot:
        shot = choose(scene_, stage)
        return Shot((shot.size[0] * 2, shot.size[1] * 2), shot.focal * 2, shot.position, shot.rotation, shot.fov)

    choose = rendering._choose
    with patch.object(rendering, "_choose", doubled):
        picture = render(scene)
    height, width = picture.shot.size
    picture.image.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))


def _peak_memory_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
