"""python -m services.mvloc [--config FILE] [--server.port 50051 ...]: the localization stage as a process."""

from __future__ import annotations

import sys

from services.mvloc.config import MvlocConfig
from services.runtime.process import run
from services.runtime.server import Service


def make(config: MvlocConfig) -> list[Service]:
    """The stage's service."""
    from services.mvloc.servicer import MvlocService  # the models' libraries take seconds: not for a wrong flag

    return [MvlocService(config)]


if __name__ == "__main__":
    sys.exit(run(MvlocConfig, make, sys.argv[1:]))
