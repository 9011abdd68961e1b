"""python -m services.orchestrator [--config FILE] [--server.port 50051 ...]: the public API."""

from __future__ import annotations

import sys

from services.orchestrator.config import OrchestratorConfig
from services.orchestrator.service import BatchService, ContactService
from services.runtime.process import run

if __name__ == "__main__":
    sys.exit(run(OrchestratorConfig, lambda config: [ContactService(config), BatchService()], sys.argv[1:]))
