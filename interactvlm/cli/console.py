"""Where the command speaks: progress and errors on stderr, answers on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["console", "print_json", "step_progress"]

console = Console(stderr=True, soft_wrap=True)


@contextmanager
def step_progress() -> Iterator[Callable[[str], None]]:
    """A spinner that names the current step and its elapsed time; plain lines where stderr is not a terminal."""
    if not console.is_terminal:
        yield lambda step: console.print(f"... {step}", markup=False, highlight=False)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda step: bar.reset(task, description=step)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
