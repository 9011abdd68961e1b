"""What the fitting server runs with."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.runtime.config import ServerConfig

__all__ = ["FittingConfig"]


@dataclass(frozen=True, slots=True)
class FittingConfig:
    """Everything.

    Attributes:
        server: how this service listens.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
