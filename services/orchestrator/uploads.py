"""A mesh file from a stream of chunks to a checked surface: capped while it arrives, parsed off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from interactvlm.errors import DeadlineExceededError, MeshError
from interactvlm.geometry.load import MESH_TYPES, POINT_TYPES, MeshLimits, load_mesh, load_point_cloud
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.v1 import contact_service_pb2
from services.orchestrator.fairness import FairPlaces
from services.runtime.errors import QueueFull

__all__ = ["MeshReader"]

_MAX_CHUNK = 2**20
_MAX_FILE = 64 * 2**20
#: A mesh travels to a stage in one message, which has to stay below the message limit.
_MAX_ARRAYS = 48 * 2**20
_LIMITS = MeshLimits(max_bytes=_MAX_FILE)
_PARSERS = 2
_MAX_UPLOADS = 16
_UPLOAD_SECONDS = 120.0


class MeshReader:
    """Reads uploads: some at a time, parsing even fewer, because that takes several times the file's size."""

    def __init__(self) -> None:
        self._arriving = 0
        self._places = FairPlaces(_PARSERS)
        self._threads = ThreadPoolExecutor(_PARSERS, thread_name_prefix="interactvlm-mesh")

    async def read(
        self, requests: AsyncIterator[contact_service_pb2.UploadMeshRequest], *, owner: str
    ) -> Mesh | PointCloud:
        """The surface that the chunks hold; owners take turns.

        Raises:
            MeshError: the type is unknown, a cap is passed, or the file is no valid mesh of its type.
            QueueFull: too many uploads are under way.
            DeadlineExceededError: the upload takes too long.
        """
        if self._arriving >= _MAX_UPLOADS:
            raise QueueFull(f"{self._arriving} meshes are being uploaded; that is the limit", retry_after=1.0)
        self._arriving += 1
        try:
            async with asyncio.timeout(_UPLOAD_SECONDS) as limit:
                return await self._read(requests, owner)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceededError(f"the upload took longer than {_UPLOAD_SECONDS:.0f} s") from None
        finally:
            self._arriving -= 1

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _read(
        self, requests: AsyncIterator[contact_service_pb2.UploadMeshRequest], owner: str
    ) -> Mesh | PointCloud:
        file_type, content = "", bytearray()
        first = True
        async for request in requests:
            if first:
                file_type, first = request.file_type.lower(), False
                _check_type(file_type)
            elif request.file_type:
                raise MeshError("file_type", "stands in a later message; it belongs in the first one only")
            if len(request.chunk) > _MAX_CHUNK:
                raise MeshError("chunk", f"has {len(request.chunk)} bytes; the limit is {_MAX_CHUNK}")
            if len(content) + len(request.chunk) > _MAX_FILE:
                raise MeshError("mesh", f"is larger than the limit of {_MAX_FILE} bytes")
            content += request.chunk
        if first:
            raise MeshError("mesh", "is empty: the stream held no message")
        loop = asyncio.get_running_loop()
        async with self._places.place(owner):
            return await loop.run_in_executor(self._threads, _parse, bytes(content), file_type)


def _check_type(file_type: str) -> None:
    known = tuple(dict.fromkeys((*MESH_TYPES, *POINT_TYPES)))
    if file_type not in known:
        raise MeshError("file_type", f"is {file_type[:16]!r}; known: {', '.join(known)}")


def _parse(content: bytes, file_type: str) -> Mesh | PointCloud:
    surface: Mesh | PointCloud
    if file_type not in MESH_TYPES or (file_type == "ply" and not _has_faces(content)):
        surface = load_point_cloud(content, file_type=file_type, limits=_LIMITS)
    else:
        surface = load_mesh(content, file_type=file_type, limits=_LIMITS)
    size = surface.vertices.nbytes + surface.faces.nbytes if isinstance(surface, Mesh) else surface.xyz.nbytes
    if size > _MAX_ARRAYS:
        raise MeshError("mesh", f"has {size} bytes of vertices and faces; the limit is {_MAX_ARRAYS}")
    _ = surface.content_hash  # computed here, off the event loop, and kept
    return surface


def _has_faces(content: bytes) -> bool:
    """Whether a PLY file declares faces: one without them is a point cloud."""
    header = content[: content.find(b"end_header") + 1 or 4096]
    return any(
        line.split()[1:2] == [b"face"] and line.split()[2:3] != [b"0"]
        for line in header.splitlines()
        if line.startswith(b"element")
    )
