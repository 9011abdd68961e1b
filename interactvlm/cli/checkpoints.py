"""`interactvlm convert-checkpoint` and `interactvlm doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from interactvlm.cli.console import print_json, step_progress
from interactvlm.errors import CheckpointError

__all__ = ["convert_checkpoint", "doctor"]

_SHOWN = 8


def convert_checkpoint(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder or file with pickled or sharded weights.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for safetensors and their manifest.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Turn pickled weights into safetensors with a sha256 manifest, in a restricted process of its own."""
    from interactvlm.checkpoints.convert import convert

    with step_progress() as step:
        done = convert(source, target, progress=step)
    if as_json:
        print_json({**asdict(done), "target": str(done.target)})
        return
    merged = f", a LoRA update merged into {done.merged} of them" if done.merged else ""
    typer.echo(f"wrote {done.target}: {done.tensors} arrays{merged}")
    if done.left_out:
        typer.echo(f"left out: {', '.join(done.left_out[:_SHOWN])}{' ...' if len(done.left_out) > _SHOWN else ''}")


def doctor(
    folder: Annotated[Path, typer.Argument(help="A downloaded folder or file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a downloaded folder is, what is missing and where to put it; exit code 3 when it cannot be used."""
    from interactvlm.checkpoints.doctor import diagnose

    diagnosis = diagnose(folder)
    if as_json:
        print_json(asdict(diagnosis))
    else:
        typer.echo(str(diagnosis))
    if not diagnosis.ready:
        raise typer.Exit(CheckpointError.exit_code)
