"""A bounded in-memory cache whose entries belong to their owners: what one stored, no other can see or push out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from services.runtime.metrics import CACHE_REQUESTS

__all__ = ["OwnerCache"]

V = TypeVar("V")


class OwnerCache(Generic[V]):
    """Least recently used entries go first, those of the owner who holds most; for one thread (the event loop).

    Args:
        name: label of its metrics ("answers").
        max_bytes: bound over all owners; a value larger than that is not kept.
        size: bytes of a value.

    Attributes:
        nbytes: bytes held.
    """

    def __init__(self, name: str, *, max_bytes: int, size: Callable[[V], int]) -> None:
        self._max_bytes = max_bytes
        self._size = size
        self._entries: dict[str, OrderedDict[Hashable, V]] = {}
        self._held: dict[str, int] = {}
        self.nbytes = 0
        self._hits = CACHE_REQUESTS.labels(cache=name, result="hit")
        self._misses = CACHE_REQUESTS.labels(cache=name, result="miss")

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def get(self, owner: str, key: Hashable) -> V | None:
        """The owner's entry; another owner's looks like none."""
        entries = self._entries.get(owner)
        if entries is None or key not in entries:
            self._misses.inc()
            return None
        entries.move_to_end(key)
        self._hits.inc()
        return entries[key]

    def put(self, owner: str, key: Hashable, value: V) -> None:
        """Keep an entry for its owner, dropping others until the bound holds."""
        self._remove(owner, key)
        size = self._size(value)
        if size > self._max_bytes:
            return
        while self.nbytes + size > self._max_bytes:
            largest = max(self._held, key=lambda name: self._held[name])
            self._remove(largest, next(iter(self._entries[largest])))
        self._entries.setdefault(owner, OrderedDict())[key] = value
        self._held[owner] = self._held.get(owner, 0) + size
        self.nbytes += size

    def clear(self, owner: str | None = None) -> int:
        """Forget an owner's entries, or everybody's; returns how many."""
        owners = list(self._entries) if owner is None else [owner]
        count = sum(len(self._entries.pop(name, ())) for name in owners)
        for name in owners:
            self.nbytes -= self._held.pop(name, 0)
        return count

    def _remove(self, owner: str, key: Hashable) -> None:
        entries = self._entries.get(owner)
        if entries is None or key not in entries:
            return
        size = self._size(entries.pop(key))
        self._held[owner] -= size
        self.nbytes -= size
        if not entries:
            del self._entries[owner], self._held[owner]
