"""Training steps of nano: questions packed over cached features, next to one row a question and no cache.

    python -m benchmarks.training --json [--quick] [--device cpu]

Both schedules compute the same losses on the same questions. The naive one runs the vision tower for every question and
reads the photo again with each; ours reads features from the disk and each photo once. Photos are drawn noise with
made-up contacts: time does not depend on what they show.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from interactvlm.body.template import load_template
from interactvlm.datasets.sample import ContactSample, HumanContact, TextAnswer
from interactvlm.training.batches import PhotoFeatures
from interactvlm.training.config import TrainingConfig
from interactvlm.training.model import TrainingExample
from interactvlm.training.run import OpenedRun, open_run
from interactvlm.types import Task

NAMES = ("mug", "chair", "racket", "laptop", "bottle")


def drawn_sample(seed: int) -> ContactSample:
    """A photo of noise with contact on hands and feet."""
    rng, template = np.random.default_rng(seed), load_template("anny")
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (448, 448, 3), dtype=np.uint8)).save(buffer, "JPEG")

    def contact(task: Task, name: str, *parts: int) -> HumanContact:
        ids = np.flatnonzero(np.isin(template.part_index, parts)).astype(np.int32)
        return HumanContact(task, name, ids, "anny")

    touched = [
        contact(Task.SEMANTIC, name, int(part)) for name, part in zip(NAMES, rng.integers(0, 15, 5), strict=True)
    ]
    everywhere = [contact(Task.BINARY, "", 3, 4, 5, 6), contact(Task.SCENE, "", 5, 6)]
    words = (TextAnswer("person", "Describe the person in the photo.", "A woman in blue over green."),)
    return ContactSample(f"drawn-{seed}", buffer.getvalue(), human=(*touched, *everywhere), texts=words)


def opened(folder: str, device: str, photos: int, questions: int) -> OpenedRun:
    """nano before training, over drawn photos."""
    config = TrainingConfig.from_dict(
        {
            "model": {"start": "fresh"},
            "data": [{"kind": "shards", "path": "."}],
            "steps": {
                "steps": 1000, "photos": photos, "photos_at_once": photos, "questions": questions, "masks": 0.3,
                "mask_side": 96, "parts_dropout": 0.1,
            },
            "run": {"folder": f"{folder}/run", "cache": f"{folder}/cache", "device": device},
        }
    )  # fmt: skip
    return open_run(config, sources=[[drawn_sample(seed) for seed in range(photos)]])


def timed(work: Any, repeats: int) -> float:
    """Seconds of one call, the best of some."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (nothing else goes to stdout)")
    parser.add_argument("--quick", action="store_true", help="two photos, once: a smoke test")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    photos, questions, repeats = (2, 2, 1) if options.quick else (8, 5, 3)
    with tempfile.TemporaryDirectory() as folder:
        print("opening nano", file=sys.stderr)
        run = opened(folder, options.device, photos, questions)
        trainer, model = run.trainer, run.model
        batches = trainer._batches
        (examples,) = batches.draw(0)
        samples = [batches._sample(number) for number in range(photos)]
        bare = [
            replace(e, contact_position=None, surface=None, mask_target=None, surface_target=None) for e in examples
        ]

        def step(batch: list[TrainingExample]) -> None:
            model(batch).total.backward()
            model.zero_grad()

        def naive() -> None:
            tower = PhotoFeatures(batches._features._tower, None)
            of_photo = {id(example.image_features): i for i, example in enumerate(examples)}
            order = list(dict.fromkeys(id(example.image_features) for example in examples))
            assert len(of_photo) <= photos
            alone = [
                replace(example, image_features=tower([samples[order.index(id(example.image_features))]])[0])
                for example in examples
            ]
            step(alone)

        step(examples)
        print("measuring", file=sys.stderr)
        draw_s = timed(lambda: batches.draw(0), repeats)
        words_s = timed(lambda: step(bare), repeats)
        whole_s = timed(lambda: step(examples), repeats)
        naive_s = timed(naive, repeats)
    answers = len(examples)
    shares = {
        "data": draw_s / (draw_s + whole_s),
        "language_model": words_s / (draw_s + whole_s),
        "masks": max(0.0, whole_s - words_s) / (draw_s + whole_s),
    }
    result = {
        "device": options.device,
        "threads": torch.get_num_threads(),
        "photos": photos,
        "answers": answers,
        "ours_answers_per_s": answers / (draw_s + whole_s),
        "ours_photos_per_s": photos / (draw_s + whole_s),
        "naive_answers_per_s": answers / naive_s,
        "ratio": naive_s / (draw_s + whole_s),
        **{f"share_{name}": share for name, share in shares.items()},
        "bounded_by": max(shares, key=lambda name: shares[name]),
        "peak_host_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_device_mib": torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0,
    }
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in result.items()}
    print(json.dumps(rounded) if options.json else "\n".join(f"{name}: {value}" for name, value in rounded.items()))


if __name__ == "__main__":
    main()
