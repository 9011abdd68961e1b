"""`interactvlm predict` with a checkpoint of the 2D human-mask model: masks on the photo instead of a body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from interactvlm.cli.console import console, print_json
from interactvlm.config import Settings
from interactvlm.photo_mask import PhotoMaskModel
from interactvlm.pipeline import ObjectQuery
from interactvlm.results.photo_mask import mask_files, mask_prediction_to_dict
from interactvlm.results.write import write_files
from interactvlm.types import MaskPrediction, PersonSelector, Task

__all__ = ["predict_masks", "print_masks"]


def predict_masks(
    settings: Settings,
    pixels: NDArray[np.uint8],
    out: Path,
    *,
    stem: str,
    objects: Sequence[ObjectQuery],
    tasks: Sequence[Task] | None,
    person: PersonSelector,
    fast: bool,
    timeout: float | None,
    progress: Callable[[str], None],
) -> tuple[MaskPrediction, list[Path]]:
    """Load the model, answer, write; what was found and the files that hold it."""
    model = PhotoMaskModel.load(settings, progress=progress)
    answer = model.predict(
        pixels, objects=objects, tasks=tasks, person=person, fast=fast, timeout=timeout, progress=progress
    )
    progress("writing results")
    return answer, write_files(mask_files(answer, stem=stem, photo=pixels), out)


def print_masks(answer: MaskPrediction, files: Sequence[Path], *, as_json: bool) -> None:
    """Say what was found, for people or for programs."""
    if as_json:
        print_json({**mask_prediction_to_dict(answer), "files": [str(path) for path in files]})
        return
    for notice in answer.notices:
        console.print(notice, style="bold yellow", markup=False)
    stdout = Console(soft_wrap=True)
    for result in answer.results:
        asked = f"{result.task.value} {result.object_name}".strip()
        share = result.mask.mean()
        stdout.print(f"{asked}: {share:.1%} of the photo in contact; {result.text}", markup=False, highlight=False)
    for path in files:
        stdout.print(str(path), markup=False, highlight=False)
