"""`interactvlm synthesise`: scenes with exact labels, into shards."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from interactvlm.cli.console import console
from interactvlm.errors import MissingDependencyError

__all__ = ["synthesise"]

_SHEET = 60


def synthesise(
    scenes: Annotated[int, typer.Option(help="How many scenes.")],
    out: Annotated[Path, typer.Option(help="Folder of the shards; a run that was stopped goes on there.")],
    seed: Annotated[int, typer.Option(help="Seed of the first scene; scene i has seed + i.")] = 0,
    split: Annotated[str, typer.Option(help="train, heldout (other things) or unseen (other categories).")] = "train",
    workers: Annotated[int, typer.Option(help="Processes, one core each; the files do not depend on it.")] = 1,
) -> None:
    """Make pictures of people and objects with exact contact, as Parquet shards and a contact sheet."""
    for package in ("pyarrow", "numba"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(package, "train")
    from interactvlm.datasets.shards import read_shards
    from interactvlm.synthesis.contact_sheet import save_contact_sheet
    from interactvlm.synthesis.generate import Order, generate

    order = Order(scenes=scenes, seed=seed, split=split)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{split} scenes", total=scenes)
        generate(order, out, workers=workers, progress=lambda done: bar.advance(task, done))
    samples = read_shards(out, split)
    sheet = out / f"{split}.png"
    save_contact_sheet([samples[i] for i in range(min(_SHEET, len(samples)))], sheet)
    console.print(f"{len(samples)} scenes in {out}; a look at the first {min(_SHEET, len(samples))}: {sheet}")
