"""The retrieval stage's engine: queries decoded beside the worker, searched in batches on it, tables kept fresh."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

from interactvlm.errors import CancelledError, InputError, InteractVLMError
from interactvlm.retrieval.glb import as_glb
from interactvlm.retrieval.retriever import Retriever
from services.retrieval.config import RetrievalConfig
from services.retrieval.listing import Listing, Page, read_page
from services.retrieval.messages import Wanted
from services.retrieval.opening import EmbedShapes, Opened, open_tables
from services.retrieval.searching import COSTS, Found, Item, Query, search_batch
from services.retrieval.tables import Tables
from services.runtime.batching import Batcher
from services.runtime.calls import Call
from services.runtime.device import DeviceWorker
from services.runtime.errors import Loading, NotFound, QueueFull

__all__ = ["RetrievalEngine"]

T = TypeVar("T")
#: Kinds of queries that are compared with views, where the table has any.
_SHOWING = ("crop", "mesh")
_log = logging.getLogger(__name__)


class RetrievalEngine:
    """Searches for many callers on one worker thread.

    Args:
        config: of the stage.
        opening: opens what it names; called on a thread of its own.
    """

    def __init__(self, config: RetrievalConfig, *, opening: Callable[[RetrievalConfig], Opened] = open_tables) -> None:
        self._config = config
        self._opening = opening
        self.worker = DeviceWorker("retrieval")
        self._decoders = ThreadPoolExecutor(config.decode_threads, thread_name_prefix="interactvlm-query")
        self._batcher: Batcher[Item, Found] = Batcher(
            search_batch,
            cost=lambda item: COSTS[item.query.kind],
            limits=config.batch,
            worker=self.worker,
            name="retrieval",
        )
        self._opened: Opened | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._held_bytes = 0

    @property
    def pending(self) -> int:
        """Items that wait or run."""
        return self._batcher.pending

    @property
    def tables(self) -> Tables:
        """What is searched; raises Loading before `load`."""
        return self._live.tables

    @property
    def embed_shapes(self) -> EmbedShapes | None:
        """Makes embeddings of shapes, for the worker's thread; None where nothing can be added."""
        return self._live.embed_shapes

    async def load(self) -> None:
        """Open the table; views are built beside it. Raises as `load_retriever` does."""
        self._opened = await asyncio.to_thread(self._opening, self._config)
        if self._config.prepare_views:
            self._begin_preparing()
        self._refreshing = asyncio.create_task(self._keep_refreshing())

    async def close(self) -> None:
        """Finish what is inside, then let go of tables and threads."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await self._batcher.drain()
        if self._opened is not None and self._preparing is not None:
            self._opened.preparation.give_up()
            await self._preparing
        self.worker.close()
        self._decoders.shutdown(wait=True, cancel_futures=True)
        if self._opened is not None:
            self._opened.tables.close()

    async def search(self, wanted: Wanted, *, call: Call) -> Found:
        """Search for one caller: in what everybody finds and in what its owner added.

        Raises:
            InputError: the query is not usable, here or for the encoders.
            MissingDependencyError: a query of this kind needs a package that is not installed.
            Loading: it shows something, and the views to compare it with are still being built.
            ResourceExhausted: too much work waits.
            DeadlineExceededError, CancelledError: as the call says.
        """
        with self._room(wanted.nbytes):
            query = await self._read(wanted, call)
        if query.kind in _SHOWING and not self.tables.shared.sees:
            self._begin_preparing()
            raise Loading("the catalogue's views are still being built; texts are answered", retry_after=10.0)
        with self._room(query.nbytes):
            async with self.tables_of(call.owner) as tables:
                return await self._batcher.submit(Item(query, tables), call)

    @asynccontextmanager
    async def mesh(self, sha256: str, *, call: Call) -> AsyncIterator[bytes]:
        """A mesh that the caller may find, as GLB; its bytes count as held within the block.

        Raises:
            NotFound: nothing that this owner finds has the hash.
            ResourceExhausted: too many meshes are being sent.
        """
        async with self.tables_of(call.owner) as tables:
            content = await asyncio.to_thread(_mesh, tables, sha256)
        with self._room(len(content)):
            yield content

    async def list_rows(self, listing: Listing, *, call: Call) -> Page:
        """A page of what the caller may find; raises CheckpointError where a table is damaged."""
        async with self.tables_of(call.owner) as tables:
            return await self.decode(partial(read_page, tables, listing))

    async def refresh(self) -> int:
        """Search the newest snapshots from now on; how many tables had one. Searches under way keep theirs."""
        # On the worker's thread: between batches, so that a batch names the version it searched.
        return await self.worker.run(self.tables.refresh)

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """ "table" tells what is searched, "reload" looks for newer snapshots first; None for another command."""
        if command not in ("table", "reload"):
            return None
        if arguments:
            raise InputError(next(iter(arguments)), f"is not an argument of {command}; it takes none")
        changed = await self.refresh() if command == "reload" else 0
        shared = self.tables.shared
        return {
            "table": self._config.table or "embedded catalogue",
            "version": shared.version,
            "rows": len(shared),
            "reloaded": changed,
        }

    @property
    def _live(self) -> Opened:
        if self._opened is None:
            raise Loading("the table is not open yet", retry_after=1.0)
        return self._opened

    async def _read(self, wanted: Wanted, call: Call) -> Query:
        if not wanted.heavy:
            return wanted.read()

        def work() -> Query:
            call.context.check()
            return wanted.read()

        return await self.decode(work)

    async def decode(self, work: Callable[[], T]) -> T:
        """Read something untrusted on a thread made for it."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)

    @asynccontextmanager
    async def tables_of(self, owner: str) -> AsyncIterator[tuple[Retriever, ...]]:
        """What an owner finds, open within the block: the shared table and, where it added something, its own."""
        if self.tables.needs_opening(owner):
            await asyncio.to_thread(self.tables.prepare, owner)
        with self.tables.of(owner) as tables:
            yield tables

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        if self._held_bytes and self._held_bytes + size > self._config.waiting_bytes:
            raise QueueFull(
                f"{self._held_bytes} bytes of queries and meshes are held; the limit is {self._config.waiting_bytes}",
                retry_after=0.5,
            )
        self._held_bytes += size
        try:
            yield
        finally:
            self._held_bytes -= size

    def _begin_preparing(self) -> None:
        if self._preparing is None or self._preparing.done():  # done without views: it failed, and may be tried again
            self._preparing = asyncio.create_task(asyncio.to_thread(self._prepare))

    def _prepare(self) -> None:
        try:
            self.tables.shared.warm_views()
        except CancelledError:
            _log.info("the catalogue's views were not finished")
        except InteractVLMError as error:
            _log.error("the catalogue's views cannot be built: %s", error)
        except Exception:  # noqa: BLE001 - texts are answered all the same; a picture tries again
            _log.exception("the catalogue's views cannot be built")

    async def _keep_refreshing(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_seconds)
            try:
                if await self.refresh():
                    _log.info("a newer snapshot is searched", extra={"fields": {"version": self.tables.shared.version}})
            except InteractVLMError as error:
                _log.error("a newer snapshot cannot be read, the last good one stays: %s", error)
            except Exception:  # noqa: BLE001 - a disk that is away for a while must not end the looking
                _log.exception("a newer snapshot cannot be looked for")


def _mesh(tables: Sequence[Retriever], sha256: str) -> bytes:
    for table in reversed(tables):
        try:
            return as_glb(table.mesh(sha256))
        except InputError:
            continue
    raise NotFound(f"mesh_sha256: {sha256} is not in what you can search", metadata={"mesh_sha256": sha256})
