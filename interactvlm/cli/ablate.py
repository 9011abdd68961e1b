"""`interactvlm ablate`: the paper's switches, one by one, within a stated time."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from interactvlm.cli.console import console, counted_progress, print_json
from interactvlm.errors import InputError

__all__ = ["ablate"]


def ablate(
    config: Annotated[Path, typer.Option(help="TOML: a training configuration with a section [ablation].")],
    minutes: Annotated[
        float | None, typer.Option(help="Training time over all cases, in place of the configuration's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Train and score every switch of the paper's ablation at a small scale; finished cases are kept."""
    from interactvlm.evaluation.ablation import ablate as run
    from interactvlm.evaluation.ablation import ablation_table
    from interactvlm.evaluation.ablation_cases import read_plan

    plan = read_plan(config)
    if minutes is not None:
        if not 0 < minutes <= 10**6:
            raise InputError("--minutes", f"is {minutes:g}; a positive number is needed")
        plan = replace(plan, budget_minutes=minutes)
    with counted_progress() as step:
        report = run(plan, progress=step)
    if as_json:
        print_json(report)
    else:
        sys.stdout.write(ablation_table(report))
    console.print(f"written to {plan.training.run.folder}", markup=False, highlight=False)
