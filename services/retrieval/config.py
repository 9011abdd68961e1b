"""What the retrieval stage runs with."""

from __future__ import annotations

from dataclasses import dataclass, field

from interactvlm.config import Settings
from interactvlm.errors import InputError
from services.runtime.batching import BatchLimits
from services.runtime.config import ServerConfig, refuse_processes

__all__ = ["RetrievalConfig"]


@dataclass(frozen=True, slots=True)
class RetrievalConfig(Settings):
    """The library's settings at the top level (the same file serves the command line), tables for the rest.

    Attributes:
        table: folder of the operator's table; empty for the embedded catalogue, which never changes.
        shape_encoder: folder of the converted point encoder, for clouds and meshes (as queries and to add).
        query_encoder: folder of the CLIP that belongs to the table, for texts and pictures.
        prepare_views: build what pictures are compared with at the start (minutes, once a machine); false leaves it to
            the first query that shows something, which is told to come again.
        refresh_seconds: how often to look for a newer snapshot, which others may have written.
        decode_threads: pictures and meshes decoded at once.
        waiting_bytes: bound of the queries that wait to be decoded; more are refused with QUEUE_FULL.
        max_owner_meshes: meshes that an owner may add for itself.
        open_owners: owners' tables held open; those not asked for longest are closed.
        batch: bounds of a batch; costs are in texts (see `searching.COSTS`).
        server: how to listen.
    """

    table: str = ""
    shape_encoder: str = ""
    query_encoder: str = ""
    prepare_views: bool = True
    refresh_seconds: float = 5.0
    decode_threads: int = 2
    waiting_bytes: int = 512 * 2**20
    max_owner_meshes: int = 10_000
    open_owners: int = 64
    batch: BatchLimits = field(default_factory=lambda: BatchLimits(max_items=32, max_cost=128.0))
    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises InputError."""
        Settings.__post_init__(self)
        refuse_processes(self.server)
        if not 1 <= self.decode_threads <= 64:
            raise InputError("decode_threads", f"is {self.decode_threads}; it must lie between 1 and 64")
        if not 0.05 <= self.refresh_seconds <= 86400:
            raise InputError("refresh_seconds", f"is {self.refresh_seconds:g}; it must lie between 0.05 and 86400")
        if self.max_owner_meshes < 0:
            raise InputError("max_owner_meshes", f"is {self.max_owner_meshes}; it cannot be negative")
        if self.open_owners < 1:
            raise InputError("open_owners", f"is {self.open_owners}; it must be at least 1")
        if not self.table:
            for name in ("shape_encoder", "query_encoder"):
                if getattr(self, name):
                    raise InputError(name, "goes with a table; the embedded catalogue has encoders of its own")
