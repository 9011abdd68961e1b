"""python -m services.orchestrator [--config FILE] [--server.port 50051 ...]: the public API."""

from __future__ import annotations

import sys

from services.orchestrator.config import OrchestratorConfig
from services.orchestrator.retrieval import RetrievalService
from services.orchestrator.service import BatchService, ContactService
from services.runtime.process import run
from services.runtime.server import Service


def make(config: OrchestratorConfig) -> list[Service]:
    """The public services."""
    return [ContactService(config), BatchService(), RetrievalService(config)]


if __name__ == "__main__":
    sys.exit(run(OrchestratorConfig, make, sys.argv[1:]))
