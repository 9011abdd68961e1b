"""The client for asyncio: one channel, typed calls."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

import numpy as np
from grpc import aio
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate
from interactvlm.client.endpoint import Endpoint
from interactvlm.client.errors import ServerError, from_call, hides_status
from interactvlm.client.meshes import upload_messages
from interactvlm.client.requests import Outcome, PhotoRequest, ServerInfo, decode_response, decode_server_info
from interactvlm.client.search import ListedMesh, MeshAnswer, MeshSearch, decode_found, decode_listed
from interactvlm.client.stream import PredictionStream
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import PersonSelector, Prediction, Task
from interactvlm.v1 import contact_service_pb2 as pb
from interactvlm.v1 import retrieval_service_pb2
from interactvlm.v1.contact_service_pb2_grpc import ContactServiceStub
from interactvlm.v1.retrieval_service_pb2_grpc import RetrievalServiceStub
from interactvlm.wire import decode_body

__all__ = ["DEFAULT_TIMEOUT", "AsyncClient"]

#: Seconds a call may take unless its caller says otherwise.
DEFAULT_TIMEOUT = 300.0
_MESH_NOT_FOUND = "MESH_NOT_FOUND"
_UPLOAD_ATTEMPTS = 8

T = TypeVar("T")
Priority = Literal["interactive", "batch"]


class AsyncClient:
    """Asks a server what `InteractVLM.predict` answers in process, and gets the same types back.

    Use it as an async context manager, or `await close()`. One client serves any number of concurrent calls.

    Args:
        endpoint: where and how; "HOST:PORT" for a server without TLS and token.
        priority: "interactive", or "batch" for work that shall leave others the way.

    Raises:
        InputError: the endpoint is malformed, or a certificate cannot be read.
    """

    def __init__(self, endpoint: Endpoint | str, *, priority: Priority = "interactive") -> None:
        self._endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self._priority = priority
        self._channel = self._endpoint.open_channel()
        self._stub = ContactServiceStub(self._channel)
        self._retrieval = RetrievalServiceStub(self._channel)
        self._meshes_seen: set[str] = set()
        self._uploading = asyncio.Lock()

    async def predict(
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
        """Contacts of one person in one photo; meshes the server lacks are uploaded first.

        Args:
            timeout: seconds for everything; None leaves the limit to the server.

        Other arguments: see `PhotoRequest`.

        Returns:
            The prediction. Objects that failed while others were answered are in its `failures`.

        Raises:
            InputError: the photo, an object, the person or a task is not usable, here or in the server's eyes.
            DeadlineExceededError: `timeout` passed.
            ServerError: the server refused or failed (`code`, `reason`, `retry_after`).
        """
        request = PhotoRequest(photo, objects, tasks, person, fast, dense, view_logits, checkpoint)
        end = None if timeout is None else time.monotonic() + timeout
        try:
            return await self._predict(request, end)
        except ServerError as error:
            if error.reason != _MESH_NOT_FOUND or self._meshes_seen.isdisjoint(_hashes(request)):
                raise
            self._meshes_seen -= _hashes(request)  # forgotten there meanwhile: once more, with an upload
            return await self._predict(request, end)

    async def predict_many(
        self,
        items: Iterable[tuple[str, PhotoRequest]] | AsyncIterable[tuple[str, PhotoRequest]],
        *,
        max_in_flight: int = 16,
    ) -> AsyncGenerator[Outcome, None]:
        """Contacts in many photos over one stream, in the order in which they are ready.

        A photo that fails gives an outcome with an error and ends nothing; broken connections are taken up again.

        Args:
            items: (item id, request); ids have 1 to 128 characters. Read as room becomes free.
            max_in_flight: items read and not yet yielded at most; the server may announce fewer.

        Yields:
            One outcome an item.

        Raises:
            ServerError: the stream as a whole failed.
        """

        async def source() -> AsyncIterator[tuple[str, Callable[[], Awaitable[pb.PredictStreamRequest]]]]:
            async for item_id, request in _iterate(items):

                async def make(item_id: str = item_id, request: PhotoRequest = request) -> pb.PredictStreamRequest:
                    message = await self._prepare(request, DEFAULT_TIMEOUT)
                    return pb.PredictStreamRequest(item_id=item_id, request=message)

                yield item_id, make

        stream = PredictionStream(
            lambda: self._stub.PredictStream(metadata=self._metadata()),
            source(),
            limit=max_in_flight,
            target=self._endpoint.target,
        ).outcomes()
        try:
            async for outcome in stream:
                if isinstance(outcome.error, ServerError) and outcome.error.reason == _MESH_NOT_FOUND:
                    self._meshes_seen.clear()  # which one is not said; later items ask again
                yield outcome
        finally:
            await stream.aclose()

    async def upload_mesh(self, surface: Mesh | PointCloud, *, timeout: float | None = DEFAULT_TIMEOUT) -> str:
        """Give the server a mesh or points; `predict` does so by itself where needed.

        Returns:
            The content hash under which the server holds it for this caller.

        Raises:
            ServerError: the server refused it or failed.
        """
        sent = await self._upload(surface, timeout)
        if sent.sha256 != surface.content_hash:
            raise ServerError(
                f"the server read mesh {surface.content_hash} as {sent.sha256}; client and server do not match",
                code="DATA_LOSS",
            )
        self._meshes_seen.add(sent.sha256)
        return sent.sha256

    async def delete_mesh(self, sha256: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Make the server forget a mesh of this caller.

        Raises:
            ServerError: there is none of that hash, or the server failed.
        """
        self._meshes_seen.discard(sha256)
        request = pb.DeleteMeshRequest(name=f"meshes/{sha256}")
        await self._call(self._stub.DeleteMesh(request, timeout=timeout, metadata=self._metadata()))

    async def search_meshes(self, search: MeshSearch, *, timeout: float | None = DEFAULT_TIMEOUT) -> MeshAnswer:
        """Meshes that look like, or are called like, a query.

        Raises:
            InputError: the query is not usable, here or in the server's eyes.
            ServerError: the server refused or failed.
        """
        request = await asyncio.to_thread(search.to_message)
        call = self._retrieval.Search(request, timeout=timeout, metadata=self._metadata())
        return decode_found(await self._call(call))

    async def list_meshes(
        self, *, category: str = "", mesh_id: str = "", limit: int = 1000, timeout: float | None = DEFAULT_TIMEOUT
    ) -> list[ListedMesh]:
        """What `search_meshes` can find.

        Args:
            category: only this one, in any spelling; "" for all.
            mesh_id: only the row of this id; "" for all.
            limit: most rows.
            timeout: seconds for a page of up to 1000.

        Raises:
            ServerError: the server refused or failed.
        """
        found: list[ListedMesh] = []
        request = retrieval_service_pb2.ListMeshesRequest(category=category, id=mesh_id)
        while True:
            request.page_size = min(1000, limit - len(found))
            page = await self._call(self._retrieval.ListMeshes(request, timeout=timeout, metadata=self._metadata()))
            found += map(decode_listed, page.meshes)
            request.page_token = page.next_page_token
            if len(found) >= limit or not page.next_page_token:
                return found

    async def download_mesh(self, sha256: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> bytes:
        """A mesh that `search_meshes` found, as GLB.

        Raises:
            ServerError: this caller can find no such mesh, or the server failed.
        """
        request = retrieval_service_pb2.DownloadMeshRequest(mesh_sha256=sha256)
        content, total = bytearray(), 0
        try:
            async for piece in self._retrieval.DownloadMesh(request, timeout=timeout, metadata=self._metadata()):
                total = total or piece.total_bytes
                content += piece.chunk
        except aio.AioRpcError as error:
            raise from_call(error, self._endpoint.target) from None
        if len(content) != total:
            raise ServerError(f"the server sent {len(content)} bytes of a mesh of {total}", code="DATA_LOSS")
        return bytes(content)

    async def body(self, topology: str = "", *, timeout: float | None = DEFAULT_TIMEOUT) -> BodyTemplate:
        """The body that human contacts lie on.

        Args:
            topology: its name (`TaskResult.surface`); "": that of the default checkpoint.
            timeout: seconds.

        Raises:
            ServerError: no live checkpoint has this body, or the server failed.
        """
        request = pb.GetBodyRequest(name=f"bodies/{topology}" if topology else "")
        return decode_body(await self._call(self._stub.GetBody(request, timeout=timeout, metadata=self._metadata())))

    async def server_info(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> ServerInfo:
        """Version, live checkpoints and limits.

        Raises:
            ServerError: the server refused or failed.
        """
        call = self._stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=timeout, metadata=self._metadata())
        return decode_server_info(await self._call(call))

    async def close(self) -> None:
        """End the calls under way and the connection."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _predict(self, request: PhotoRequest, end: float | None) -> Prediction:
        message = await self._prepare(request, _left(end))
        call = self._stub.Predict(message, timeout=_left(end), metadata=self._metadata(message.request_id))
        return decode_response(await self._call(call))

    async def _prepare(self, request: PhotoRequest, timeout: float | None) -> pb.PredictRequest:
        """The request's message; its meshes are with the server afterwards."""
        message = await asyncio.to_thread(request.to_message)
        for surface in request.surfaces:
            await self._ensure_mesh(surface, timeout)
        return message

    async def _ensure_mesh(self, surface: Mesh | PointCloud, timeout: float | None) -> None:
        async with self._uploading:  # several calls about one mesh upload it once
            sha256 = await asyncio.to_thread(lambda: surface.content_hash)
            if sha256 in self._meshes_seen:
                return
            request = pb.GetMeshRequest(name=f"meshes/{sha256}")
            try:
                await self._call(self._stub.GetMesh(request, timeout=timeout, metadata=self._metadata()))
            except ServerError as error:
                if error.code != "NOT_FOUND":
                    raise
                await self.upload_mesh(surface, timeout=timeout)
            self._meshes_seen.add(sha256)

    async def _upload(self, surface: Mesh | PointCloud, timeout: float | None) -> pb.Mesh:
        end = None if timeout is None else time.monotonic() + timeout
        for attempts_left in reversed(range(_UPLOAD_ATTEMPTS)):
            messages, metadata = iter(upload_messages(surface)), self._metadata()
            try:
                return await self._stub.UploadMesh(messages, timeout=_left(end), metadata=metadata)
            except aio.AioRpcError as error:
                if not (hides_status(error) and attempts_left):  # else the next attempt brings it to light
                    raise from_call(error, self._endpoint.target) from None
        raise AssertionError("unreachable")

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except aio.AioRpcError as error:
            raise from_call(error, self._endpoint.target) from None

    def _metadata(self, request_id: str = "") -> tuple[tuple[str, str], ...]:
        """What goes with every call: a name for logs and traces, the queue to wait in, who asks."""
        metadata = [
            ("interactvlm-request-id", request_id or str(uuid.uuid4())),
            ("interactvlm-priority", self._priority),
        ]
        if token := self._endpoint.read_token():
            metadata.append(("authorization", f"Bearer {token}"))
        return tuple(metadata)


def _hashes(request: PhotoRequest) -> set[str]:
    return {surface.content_hash for surface in request.surfaces}


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


async def _iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Items one by one; an ordinary iterator is advanced in a thread, as it may read files."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    iterator, end = iter(items), object()
    while (item := await asyncio.to_thread(next, iterator, end)) is not end:  # type: ignore[arg-type]
        yield item
