"""python -m services.retrieval [--config FILE] [--server.port 50051 ...]: the retrieval stage as a process."""

from __future__ import annotations

import sys

from services.retrieval.config import RetrievalConfig
from services.retrieval.servicer import RetrievalService
from services.runtime.process import run

if __name__ == "__main__":
    sys.exit(run(RetrievalConfig, lambda _: [RetrievalService()], sys.argv[1:]))
