"""What the retrieval server runs with."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.runtime.config import ServerConfig

__all__ = ["RetrievalConfig"]


@dataclass(frozen=True, slots=True)
class RetrievalConfig:
    """Everything.

    Attributes:
        server: how this service listens.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
