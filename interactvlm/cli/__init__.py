"""The `interactvlm` command."""

from interactvlm.cli.app import main

__all__ = ["main"]
