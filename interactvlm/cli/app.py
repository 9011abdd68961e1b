"""The command's frame: sub-commands, one sentence per error, exit codes.

Exit codes: 0 done, 1 an unexpected failure, 2 bad input or usage, 3 a checkpoint or package is missing or unusable,
4 the time limit passed, 5 a server refused, failed or cannot be reached, 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from interactvlm.cli import (
    ablate,
    catalogue,
    checkpoints,
    evaluate,
    info,
    predict,
    prepare,
    retrieve,
    synthesise,
    train,
    up,
)
from interactvlm.cli.console import console
from interactvlm.errors import InteractVLMError

__all__ = ["app", "main"]

app = typer.Typer(
    name="interactvlm",
    help="From one photograph: which vertices of a human body touch which object, and where on the object.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("predict")(predict.predict)
app.command("up")(up.up)
app.command("convert-checkpoint")(checkpoints.convert_checkpoint)
app.command("doctor")(checkpoints.doctor)
app.command("retrieve")(retrieve.retrieve)
app.add_typer(catalogue.app, name="catalogue")
app.command("synthesise")(synthesise.synthesise)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("ablate")(ablate.ablate)
app.command("info")(info.info)
app.command("setup-nano")(info.setup_nano)


def main() -> None:
    """Run the command; every deliberate error becomes one sentence on stderr and its exit code."""
    try:
        app()
    except InteractVLMError as error:
        console.print(f"error: {error}", style="bold red", markup=False, highlight=False)
        sys.exit(error.exit_code)
