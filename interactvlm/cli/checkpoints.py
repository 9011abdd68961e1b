"""`interactvlm convert-checkpoint` and `interactvlm doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from interactvlm.cli.console import console, print_json, step_progress

__all__ = ["convert_checkpoint", "doctor"]


def convert_checkpoint(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder or file with pickled or sharded weights.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for safetensors and their manifest.")],
) -> None:
    """Turn pickled weights into safetensors with a sha256 manifest, in a restricted process of its own."""
    from interactvlm.checkpoints.convert import convert

    with step_progress() as step:
        convert(source, target, progress=step)
    console.print(f"wrote {target}", markup=False, highlight=False)


def doctor(
    folder: Annotated[Path, typer.Argument(help="A downloaded folder or file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a downloaded folder is, what is missing and where to put it."""
    from interactvlm.checkpoints.doctor import diagnose

    diagnosis = diagnose(folder)
    if as_json:
        print_json(asdict(diagnosis))
        return
    typer.echo(str(diagnosis))
