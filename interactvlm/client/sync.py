"""The client for programs without asyncio: the same calls, each waiting for its answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate
from interactvlm.client.aio import DEFAULT_TIMEOUT, AsyncClient, Priority
from interactvlm.client.endpoint import Endpoint
from interactvlm.client.requests import Outcome, PhotoRequest, ServerInfo
from interactvlm.client.search import ListedMesh, MeshAnswer, MeshSearch
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import PersonSelector, Prediction, Task

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """`AsyncClient` on a thread of its own: works in scripts, in threads and where a loop is running already.

    Use it as a context manager, or call `close`. Interrupting a call (Ctrl-C) cancels it at the server.

    Args:
        endpoint: where and how; "HOST:PORT" for a server without TLS and token.
        priority: "interactive", or "batch" for work that shall leave others the way.

    Raises:
        InputError: the endpoint is malformed, or a certificate cannot be read.
    """

    def __init__(self, endpoint: Endpoint | str, *, priority: Priority = "interactive") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="interactvlm-client", daemon=True)
        self._thread.start()

        async def connect() -> AsyncClient:
            return AsyncClient(endpoint, priority=priority)

        try:
            self._client = self._run(connect())
        except BaseException:
            self._stop()
            raise

    def predict(
        self,
        photo: Path | str | bytes | NDArray[np.uint8],
        *,
        objects: Sequence[str | ObjectQuery] = (),
        tasks: Sequence[Task | str] | None = None,
        person: PersonSelector | None = None,
        fast: bool = False,
        dense: bool = True,
        view_logits: bool = False,
        checkpoint: str = "",
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Prediction:
        """See `AsyncClient.predict`."""
        return self._run(
            self._client.predict(
                photo,
                objects=objects,
                tasks=tasks,
                person=person,
                fast=fast,
                dense=dense,
                view_logits=view_logits,
                checkpoint=checkpoint,
                timeout=timeout,
            )
        )

    def predict_many(
        self, items: Iterable[tuple[str, PhotoRequest]], *, max_in_flight: int = 16
    ) -> Generator[Outcome, None, None]:
        """See `AsyncClient.predict_many`; leaving the loop early cancels what is under way."""
        stream = self._client.predict_many(items, max_in_flight=max_in_flight)

        async def following() -> Outcome | None:
            return await anext(stream, None)

        try:
            while (outcome := self._run(following())) is not None:
                yield outcome
        finally:
            self._run(stream.aclose())

    def upload_mesh(self, surface: Mesh | PointCloud, *, timeout: float | None = DEFAULT_TIMEOUT) -> str:
        """See `AsyncClient.upload_mesh`."""
        return self._run(self._client.upload_mesh(surface, timeout=timeout))

    def delete_mesh(self, sha256: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """See `AsyncClient.delete_mesh`."""
        self._run(self._client.delete_mesh(sha256, timeout=timeout))

    def search_meshes(self, search: MeshSearch, *, timeout: float | None = DEFAULT_TIMEOUT) -> MeshAnswer:
        """See `AsyncClient.search_meshes`."""
        return self._run(self._client.search_meshes(search, timeout=timeout))

    def list_meshes(
        self, *, category: str = "", mesh_id: str = "", limit: int = 1000, timeout: float | None = DEFAULT_TIMEOUT
    ) -> list[ListedMesh]:
        """See `AsyncClient.list_meshes`."""
        return self._run(self._client.list_meshes(category=category, mesh_id=mesh_id, limit=limit, timeout=timeout))

    def download_mesh(self, sha256: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> bytes:
        """See `AsyncClient.download_mesh`."""
        return self._run(self._client.download_mesh(sha256, timeout=timeout))

    def body(self, topology: str = "", *, timeout: float | None = DEFAULT_TIMEOUT) -> BodyTemplate:
        """See `AsyncClient.body`."""
        return self._run(self._client.body(topology, timeout=timeout))

    def server_info(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> ServerInfo:
        """See `AsyncClient.server_info`."""
        return self._run(self._client.server_info(timeout=timeout))

    def close(self) -> None:
        """End the calls under way, the connection and the thread."""
        if self._thread.is_alive():
            self._run(self._client.close())
            self._stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C here is a cancelled call there; a call that ended minds nothing
            raise

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
