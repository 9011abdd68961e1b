"""What the fixtures of this folder hand out, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from services.runtime.server import Server
from tests.reliability.stub_stage import StubMvloc, StubVlm

__all__ = ["Build", "Open", "Room", "Size"]

Open = Callable[..., Any]
"""Opens a connection of its own to an address; gives ContactService's stub."""


@dataclass(frozen=True)
class Size:
    """How much is done: `make test` runs the reduced size, `make test-reliability` the full one."""

    rounds: int
    replaced: int
    calls: int
    fuzzed: int


@dataclass
class Room:
    """An orchestrator over one stub of each stage, all in this process; `stages` are the stubs' servers, by name."""

    vlm: StubVlm
    mvloc: StubMvloc
    stages: dict[str, Server]
    orchestrator: Server
    contact: Any

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.orchestrator.port}"


Build = Callable[..., Awaitable[Room]]
