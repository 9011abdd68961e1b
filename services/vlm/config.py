"""What the language stage runs with."""

from __future__ import annotations

from dataclasses import dataclass, field

from interactvlm.config import Settings
from interactvlm.errors import InputError
from services.runtime.batching import BatchLimits
from services.runtime.config import ServerConfig, refuse_processes
from services.runtime.live_models import Canary

__all__ = ["VlmConfig"]


@dataclass(frozen=True, slots=True)
class VlmConfig(Settings):
    """The library's settings at the top level (the same file serves the command line), tables for the rest.

    Attributes:
        decode_threads: photos decoded at once.
        waiting_photo_bytes: bound of the photos that wait to be decoded; more are refused with QUEUE_FULL.
        answer_cache_bytes: bound of the answers kept in memory; 0 keeps none.
        canary: a second checkpoint from the start.
        batch: bounds of a batch; costs are in questions (see `engine.PHOTO_COST`).
        server: how to listen.
    """

    decode_threads: int = 2
    waiting_photo_bytes: int = 512 * 2**20
    answer_cache_bytes: int = 16 * 2**20
    canary: Canary = field(default_factory=Canary)
    batch: BatchLimits = field(default_factory=lambda: BatchLimits(max_items=32, max_cost=128.0))
    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises InputError."""
        Settings.__post_init__(self)
        refuse_processes(self.server)
        if not 1 <= self.decode_threads <= 64:
            raise InputError("decode_threads", f"is {self.decode_threads}; it must lie between 1 and 64")
        if self.waiting_photo_bytes < 1:
            raise InputError("waiting_photo_bytes", f"is {self.waiting_photo_bytes}; it must be positive")
        if self.answer_cache_bytes < 0:
            raise InputError("answer_cache_bytes", f"is {self.answer_cache_bytes}; it cannot be negative")
