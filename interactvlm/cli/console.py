"""Where the command speaks: progress and errors on stderr, answers on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["console", "counted_progress", "print_json", "step_progress"]

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


@contextmanager
def counted_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Called with (what, done, in all; 0 where that is unknown): a bar with the time left.

    Where stderr is no terminal, plain lines: one at the beginning, about every tenth, and at the end of each thing.
    """
    if not console.is_terminal:
        yield _plain_lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task, shown = bar.add_task("starting", total=None), "starting"

        def tell(what: str, done: int, total: int) -> None:
            nonlocal shown
            if what != shown:
                bar.reset(task, description=what, total=total or None)
                shown = what
            bar.update(task, completed=done, total=total or None)

        yield tell


def _plain_lines() -> Callable[[str, int, int], None]:
    began: dict[str, float] = {}
    said: dict[str, int] = {}

    def tell(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        first = what not in began
        began.setdefault(what, now)
        tenth = 10 * done // total if total else 0
        if not first and said[what] == tenth:
            return
        said[what] = tenth
        left = f", {(now - began[what]) * (total - done) / done:.0f} s left" if 0 < done < total and not first else ""
        count = f" {done}/{total}{left}" if total else ""
        console.print(f"... {what}{count}", markup=False, highlight=False)

    return tell


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
