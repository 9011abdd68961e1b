"""python -m services.retrieval [--config FILE] [--server.port 50051 ...]: the retrieval stage as a process."""

from __future__ import annotations

import sys

from interactvlm.errors import MissingDependencyError
from services.retrieval.config import RetrievalConfig
from services.runtime.process import run
from services.runtime.server import Service


def make(config: RetrievalConfig) -> list[Service]:
    """The stage's services over one engine.

    Raises:
        MissingDependencyError: a package of the extra `retrieval` is not installed.
    """
    try:  # here, not above: not the libraries' seconds for a wrong flag
        from services.retrieval.admin_servicer import RetrievalAdminService
        from services.retrieval.engine import RetrievalEngine
        from services.retrieval.servicer import RetrievalService
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        raise MissingDependencyError({"faiss": "faiss-cpu"}.get(name, name), "retrieval") from None
    engine = RetrievalEngine(config)
    return [
        RetrievalService(engine),
        RetrievalAdminService(engine, max_owner_meshes=config.max_owner_meshes),
    ]


if __name__ == "__main__":
    sys.exit(run(RetrievalConfig, make, sys.argv[1:]))
