"""What is searched: a table that everybody finds and, below it, a table an owner for what it added for itself.

::

    TABLE/                       the operator's table; without one, the embedded catalogue stands in its place
    TABLE/owners/<sha256>/       the table of the owner whose name has that hash

What another owner keeps cannot even be named. All tables of a server are of one embedding space and share its encoders.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from interactvlm.errors import CheckpointError
from interactvlm.retrieval.retriever import Retriever
from services.runtime.errors import CatalogueReadOnly

__all__ = ["LiveTable", "Tables"]


class LiveTable(Retriever, Protocol):
    """A retriever over a table on disk."""

    def refresh(self) -> bool:
        """Look at the newest snapshot from now on; whether it is another one."""
        ...


@dataclass(slots=True, eq=False)
class _Open:
    table: LiveTable
    users: int = 0
    left: bool = False


class Tables:
    """The shared table and those of the owners that asked last; safe to use from several threads.

    Args:
        shared: what everybody finds.
        folder: of the shared table; None for the embedded catalogue, beside which owners have nothing.
        open_table: opens a table over the same encoders.
        most_open: owners' tables held open.
    """

    def __init__(
        self, shared: Retriever, *, folder: Path | None, open_table: Callable[[Path], LiveTable], most_open: int
    ) -> None:
        self.shared = shared
        self._folder = folder
        self._open_table = open_table
        self._most_open = most_open
        self._owners: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def folder(self, owner: str, *, shared: bool) -> Path:
        """Where to add and remove.

        Args:
            owner: whose own table.
            shared: the one that everybody finds, instead.

        Raises:
            CatalogueReadOnly: there is no table on disk.
        """
        if self._folder is None:
            raise CatalogueReadOnly("table: this server searches the embedded catalogue, which never changes")
        return self._folder if shared else self._folder / "owners" / hashlib.sha256(owner.encode()).hexdigest()

    def needs_opening(self, owner: str) -> bool:
        """Whether `of` would open a table, which takes file accesses: `prepare` first, off the event loop."""
        if self._folder is None:
            return False
        with self._lock:
            known = owner in self._owners
        return not known and _is_table(self.folder(owner, shared=False))

    def prepare(self, owner: str) -> None:
        """Open the owner's table."""
        with self.of(owner):
            pass

    @contextmanager
    def of(self, owner: str) -> Iterator[tuple[Retriever, ...]]:
        """What this owner finds: the shared table and, where it added something, its own. Open within the block."""
        own = self._enter(owner)
        try:
            yield (self.shared,) if own is None else (self.shared, own.table)
        finally:
            if own is not None:
                self._leave(own)

    def refresh(self) -> int:
        """Look for newer snapshots of all open tables; how many have one.

        Raises:
            CheckpointError: one cannot be read; the others are fresh, it stays as it was.
        """
        with self._lock:
            entries = list(self._owners.values())
            for entry in entries:
                entry.users += 1  # not closed meanwhile
        live: list[object] = [self.shared, *(entry.table for entry in entries)]
        count, failure = 0, None
        try:
            for table in live:
                try:
                    count += table.refresh() if hasattr(table, "refresh") else False
                except CheckpointError as error:
                    failure = error
        finally:
            for entry in entries:
                self._leave(entry)
        if failure is not None:
            raise failure
        return count

    def close(self) -> None:
        """Let go of everything; nothing may be in use."""
        with self._lock:
            entries = list(self._owners.values())
            self._owners.clear()
        for entry in entries:
            entry.table.close()
        self.shared.close()

    def _enter(self, owner: str) -> _Open | None:
        if self._folder is None:
            return None
        folder = self.folder(owner, shared=False)
        closing: list[_Open] = []
        with self._lock:
            entry = self._owners.get(owner)
            if entry is None:
                if not _is_table(folder):
                    return None
                entry = self._owners[owner] = _Open(self._open_table(folder))
                while len(self._owners) > self._most_open:
                    _, gone = self._owners.popitem(last=False)
                    gone.left = True
                    if not gone.users:
                        closing.append(gone)
            self._owners.move_to_end(owner)
            entry.users += 1
        for gone in closing:
            gone.table.close()
        return entry

    def _leave(self, entry: _Open) -> None:
        with self._lock:
            entry.users -= 1
            over = entry.left and not entry.users
        if over:
            entry.table.close()


def _is_table(folder: Path) -> bool:
    return (folder / "snapshots").is_dir()
