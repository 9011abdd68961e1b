"""python -m services.fitting [--config FILE] [--server.port 50051 ...]: the fitting stage as a process."""

from __future__ import annotations

import sys

from services.fitting.config import FittingConfig
from services.fitting.servicer import FittingService
from services.runtime.process import run

if __name__ == "__main__":
    sys.exit(run(FittingConfig, lambda _: [FittingService()], sys.argv[1:]))
