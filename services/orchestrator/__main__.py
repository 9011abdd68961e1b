"""`python -m services.orchestrator --config FILE`: the public API."""

from __future__ import annotations

import asyncio
import sys

from interactvlm.errors import InteractVLMError
from services.orchestrator.config import OrchestratorConfig
from services.orchestrator.service import BatchService, ContactService
from services.runtime.config import load_config
from services.runtime.server import serve

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Serve until told to stop; the exit status."""
    try:
        config = load_config(OrchestratorConfig, arguments=arguments)
        asyncio.run(_serve(config))
    except InteractVLMError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


async def _serve(config: OrchestratorConfig) -> None:
    await serve([ContactService(config), BatchService()], config.server, shown=config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
