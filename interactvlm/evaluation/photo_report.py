"""Part-level answers for real photographs: nobody has labelled their vertices, but anyone can name the parts.

A part is predicted when at least a tenth of its vertices reach the threshold: the rule by which training names parts.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.parts import PART_NAMES
from interactvlm.errors import InputError
from interactvlm.evaluation.photo_rows import PhotoRow
from interactvlm.evaluation.predictions import write_file
from interactvlm.evaluation.tables import markdown_table
from interactvlm.photo import load_photo
from interactvlm.pipeline import ObjectQuery, Pipeline
from interactvlm.results.figure import draw_figures
from interactvlm.types import Box, LargestPerson, Prediction, Task, TaskResult

__all__ = ["evaluate_photos", "part_scores"]

Progress = Callable[[str, int, int], None]


def part_scores(predicted: Iterable[str], row: PhotoRow) -> tuple[float, float, float]:
    """Precision, recall and F1 over parts; optional ones are left out of both sides.

    Nothing predicted where nothing is true scores 1; a ratio without a denominator is 0 otherwise.
    """
    said, true = set(predicted) - set(row.optional), set(row.parts) - set(row.optional)
    if not said and not true:
        return 1.0, 1.0, 1.0
    hits = len(said & true)
    precision, recall = hits / len(said) if said else 0.0, hits / len(true) if true else 0.0
    return precision, recall, 2 * hits / (len(said) + len(true))


def evaluate_photos(
    pipeline: Pipeline, folder: Path, rows: Sequence[PhotoRow], out: Path, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Ask about every row, draw every photo, count.

    Rows about one person in one photo are asked together. The parts of a row are compared with answers only after
    all answers are there.

    Args:
        pipeline: who answers.
        folder: with the photos.
        rows: what a person sees.
        out: receives `photos.json`, `photos.md` and a PNG for every person in every photo.
        progress: called with ("photos", done, in all).

    Returns:
        The document in `photos.json`: "n", "precision", "recall", "part_f1" (means over rows),
        "rows_with_part_f1_half", "named_part_f1" (the same of the parts that the text names) and "rows".

    Raises:
        InputError: a photo cannot be read, a box leaves it, or `out` cannot be written.
    """
    groups: dict[tuple[str, Box | None], list[PhotoRow]] = {}
    for row in rows:
        groups.setdefault((row.photo, row.person), []).append(row)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(out), f"cannot be written ({error.strerror})") from None
    results: dict[int, TaskResult] = {}
    figures: dict[int, str] = {}
    for number, ((name, person), group) in enumerate(groups.items()):
        if progress is not None:
            progress("photos", number, len(groups))
        photo = load_photo(folder / name)
        prediction = asyncio.run(_ask(pipeline, photo, person, group))
        stem = f"{Path(name).stem}-{number:02d}"
        pages = _draw(pipeline, prediction, photo, stem, out)
        for row in group:
            results[id(row)] = _result_of(prediction, row)
            figures[id(row)] = pages[0]
    if progress is not None:
        progress("photos", len(groups), len(groups))
    lines = [_line(row, results[id(row)], figures[id(row)]) for row in rows]
    identity = pipeline.language.identity
    report = {
        "model": {"name": identity.name, "checkpoint": identity.checkpoint_hash, "trained": identity.trained},
        "n": len(lines),
        **{key: float(np.mean([line[key] for line in lines])) for key in ("precision", "recall", "part_f1")},
        "named_part_f1": float(np.mean([line["named_part_f1"] for line in lines])),
        "rows_with_part_f1_half": sum(line["part_f1"] >= 0.5 for line in lines),
        "rows": lines,
    }
    write_file(out / "photos.json", (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    write_file(out / "photos.md", _markdown(report).encode())
    return report


async def _ask(
    pipeline: Pipeline, photo: NDArray[np.uint8], person: Box | None, rows: Sequence[PhotoRow]
) -> Prediction:
    questions = list(dict.fromkeys(row.question for row in rows))
    return await pipeline.predict(
        photo,
        objects=[ObjectQuery(question.object_name) for question in questions if question.task is Task.SEMANTIC],
        tasks=list(dict.fromkeys(question.task for question in questions)),
        person=person if person is not None else LargestPerson(),
    )


def _result_of(prediction: Prediction, row: PhotoRow) -> TaskResult:
    wanted = (row.question.task, row.question.object_name)
    return next(result for result in prediction.results if (result.task, result.object_name) == wanted)


def _draw(pipeline: Pipeline, prediction: Prediction, photo: NDArray[np.uint8], stem: str, out: Path) -> list[str]:
    body = pipeline.localization.body
    names = []
    surfaces = {body.topology: body.as_mesh()}
    for page, figure in enumerate(draw_figures(prediction, title=stem, photo=photo, surfaces=surfaces)):
        stream = io.BytesIO()
        figure.save(stream, format="PNG")
        names.append(f"{stem}.png" if page == 0 else f"{stem}-{page}.png")
        write_file(out / names[-1], stream.getvalue())
    return names


def _line(row: PhotoRow, result: TaskResult, figure: str) -> dict[str, Any]:
    precision, recall, f1 = part_scores(result.parts_touched, row)
    return {
        "photo": row.photo,
        "who": row.who,
        "object": row.object_name,
        "true": [part for part in PART_NAMES if part in row.parts],
        "optional": [part for part in PART_NAMES if part in row.optional],
        "predicted": list(result.parts_touched),
        "named": list(result.parts_named),
        "text": result.text,
        "precision": precision,
        "recall": recall,
        "part_f1": f1,
        "named_part_f1": part_scores(result.parts_named, row)[2],
        "figure": figure,
    }


def _markdown(report: dict[str, Any]) -> str:
    heading = ("photo", "who", "object", "true parts", "predicted parts", "parts in the text", "P", "R", "F1")
    table = markdown_table(
        heading,
        (
            (
                f"[{line['photo']}]({line['figure']})",
                line["who"] or None,
                line["object"],
                ", ".join(line["true"]) + "".join(f" ({part})" for part in line["optional"]),
                ", ".join(line["predicted"]) or None,
                ", ".join(line["named"]) or None,
                line["precision"],
                line["recall"],
                line["part_f1"],
            )
            for line in report["rows"]
        ),
    )
    return (
        f"# Real photographs: {report['model']['name']}\n\n"
        f"Part F1 >= 0.5 in {report['rows_with_part_f1_half']} of {report['n']} rows; mean precision "
        f"{report['precision']:.2f}, recall {report['recall']:.2f}, F1 {report['part_f1']:.2f}.\n\n{table}\n"
    )
