"""python -m services.vlm [--config FILE] [--server.port 50051 ...]: the language stage as a process."""

from __future__ import annotations

import sys

from services.runtime.process import run
from services.runtime.server import Service
from services.vlm.config import VlmConfig


def make(config: VlmConfig) -> list[Service]:
    """The stage's service."""
    from services.vlm.servicer import VlmService  # the models' libraries take seconds: not for a wrong flag

    return [VlmService(config)]


if __name__ == "__main__":
    sys.exit(run(VlmConfig, make, sys.argv[1:]))
