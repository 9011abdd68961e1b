"""What a run shows while it runs: one live line on stderr, TensorBoard events, a line of JSON per record."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["RunProgress"]


class RunProgress:
    """Reports a run.

    Args:
        folder: the run's; events go to `events/`, records to `log.jsonl`. None: nothing is written (other processes).
        steps: length of the run.
        first: steps done before this piece.
        every: seconds between lines where stderr is not a terminal.
    """

    def __init__(self, folder: Path | None, *, steps: int, first: int, every: float = 30.0) -> None:
        self._folder = folder
        self._steps = steps
        self._first = first
        self._every = every
        self._begin = self._shown = time.monotonic()
        self._photos = self._answers = 0
        self._loss: float | None = None
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder / "events"), purge_step=first or None)

    def step(self, done: int, values: Mapping[str, float], *, photos: int, answers: int) -> None:
        """A step has been done: show and record its losses."""
        self._photos += photos
        self._answers += answers
        loss = values["loss"]
        self._loss = loss if self._loss is None else 0.95 * self._loss + 0.05 * loss
        self.record("train", done, values)
        if self._folder is None:
            return
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self._shown < (0.2 if terminal else self._every) and done < self._steps:
            return
        self._shown = now
        seconds = now - self._begin
        left = seconds / max(1, done - self._first) * (self._steps - done)
        line = (
            f"step {done}/{self._steps}  loss {self._loss:.3f}  {self._photos / seconds:.2f} photos/s  "
            f"{self._answers / seconds:.2f} answers/s  {_clock(left)} left"
        )
        sys.stderr.write(f"\r\x1b[K{line}" if terminal else f"{line}\n")
        sys.stderr.flush()

    def record(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Values of one kind ("train", "validation") at a step."""
        if self._folder is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)
        line = {"kind": kind, "step": step, **{name: round(value, 6) for name, value in values.items()}}
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def say(self, sentence: str) -> None:
        """One sentence for whoever watches."""
        if self._folder is not None:
            sys.stderr.write(f"\r\x1b[K{sentence}\n" if sys.stderr.isatty() else f"{sentence}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Finish the line and the event file."""
        if self._writer is not None:
            self._writer.close()
        if self._folder is not None and sys.stderr.isatty():
            sys.stderr.write("\n")


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
