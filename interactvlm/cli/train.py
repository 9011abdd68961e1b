"""`interactvlm train`: train a model set, go on with a run, export what it made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from interactvlm.cli.console import console, print_json
from interactvlm.errors import InputError

__all__ = ["train"]


def train(
    config: Annotated[Path, typer.Option(help="TOML file; see docs/training.md.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest checkpoint.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="End after so long with a checkpoint (as SIGTERM does); go on with --resume.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Folder for what was trained; by default export-STEP in the run's folder.")
    ] = None,
    export_only: Annotated[
        bool, typer.Option("--export-only", help="Do not train: export the run's best (or newest) checkpoint.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")] = False,
) -> None:
    """Train LoRA, contact tokens, Gamma, Phi and Omega on annotated photos."""
    from interactvlm.training.config import TrainingConfig

    if minutes is not None and not 0 < minutes < math.inf:
        raise InputError("--minutes", f"is {minutes}, must be a positive number")
    settings = TrainingConfig.from_file(config)
    from interactvlm.training.export import export_run

    answer: dict[str, object] = {"run": settings.run.folder}
    if not export_only:
        from interactvlm.training.run import open_run

        opened = open_run(settings)
        state = opened.run(resume=resume, minutes=minutes if minutes is not None else math.inf)
        step, seconds = (state.step, state.seconds) if state else (0, 0.0)
        done = step >= settings.steps.steps
        answer.update(step=step, steps=settings.steps.steps, hours=round(seconds / 3600, 3), done=done)
        if not done:
            console.print(f"stopped at step {step}; go on with --resume", markup=False, highlight=False)
    if export_only or answer.get("done"):
        checkpoint, out = export_run(settings, export)
        answer.update(exported=str(out), checkpoint=checkpoint.name)
        console.print(f"{checkpoint.name} exported to {out}", markup=False, highlight=False)
    if as_json:
        print_json(answer)
