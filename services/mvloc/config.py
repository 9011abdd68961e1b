"""What the localization stage runs with."""

from __future__ import annotations

from dataclasses import dataclass, field

from interactvlm.config import Settings
from interactvlm.errors import InputError
from services.runtime.batching import BatchLimits
from services.runtime.config import ServerConfig, refuse_processes
from services.runtime.live_models import Canary

__all__ = ["MvlocConfig"]


@dataclass(frozen=True, slots=True)
class MvlocConfig(Settings):
    """The library's settings at the top level (the same file serves the command line), tables for the rest.

    Attributes:
        mesh_threads: meshes checked at once.
        mesh_cache_bytes: bound of the meshes held for their owners; disposable, they are pushed again when missing.
        preload_encoder: read the image encoder at start instead of with the first object that is in no cache.
        canary: a second checkpoint from the start.
        batch: bounds of a batch; costs are in embeddings (see `engine.SURFACE_COST`).
        server: how to listen.
    """

    mesh_threads: int = 2
    mesh_cache_bytes: int = 2**30
    preload_encoder: bool = False
    canary: Canary = field(default_factory=Canary)
    batch: BatchLimits = field(default_factory=lambda: BatchLimits(max_items=64, max_cost=64.0))
    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises InputError."""
        Settings.__post_init__(self)
        refuse_processes(self.server)
        if not 1 <= self.mesh_threads <= 64:
            raise InputError("mesh_threads", f"is {self.mesh_threads}; it must lie between 1 and 64")
        if self.mesh_cache_bytes < 0:
            raise InputError("mesh_cache_bytes", f"is {self.mesh_cache_bytes}; it cannot be negative")
