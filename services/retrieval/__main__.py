"""`python -m services.retrieval --config FILE`."""

from __future__ import annotations

import asyncio
import sys

from interactvlm.errors import InteractVLMError
from services.retrieval.config import RetrievalConfig
from services.retrieval.servicer import RetrievalService
from services.runtime.config import load_config
from services.runtime.server import serve

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Serve until told to stop; the exit status."""
    try:
        config = load_config(RetrievalConfig, arguments=arguments)
        asyncio.run(serve([RetrievalService()], config.server, shown=config))
    except InteractVLMError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
