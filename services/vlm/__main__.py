"""python -m services.vlm [--config FILE] [--server.port 50051 ...]: the language stage as a process."""

from __future__ import annotations

import asyncio
import sys

from interactvlm.errors import InteractVLMError
from services.runtime.config import load_config
from services.runtime.server import serve
from services.vlm.config import VlmConfig


def main() -> int:
    """Serve until SIGTERM; returns the exit status."""
    try:
        config = load_config(VlmConfig, arguments=sys.argv[1:])
        from services.vlm.servicer import VlmService  # the models' libraries take seconds: not for a wrong flag

        asyncio.run(serve([VlmService(config)], config.server, shown=config))
    except InteractVLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
