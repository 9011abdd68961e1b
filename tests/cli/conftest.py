from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from interactvlm.cli import main


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture
def run_command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Run `interactvlm ARGUMENTS` in this process; everything it prints and its exit code."""

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["interactvlm", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capfd.readouterr()
        return Finished(int(stopped.value.code or 0), printed.out, printed.err)

    return run
