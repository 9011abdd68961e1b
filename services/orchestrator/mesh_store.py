"""Meshes of callers, by content hash: the truth that the stages' caches are filled from.

One file a mesh and owner, below a folder named by the owner's hash: what another owner keeps cannot even be named, and
deleting really erases. Several orchestrators may share the folder: files appear whole and are never changed. A mesh
that nobody used for its time to live is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np

from interactvlm.errors import InteractVLMError
from interactvlm.geometry.mesh import Mesh, PointCloud
from services.runtime.errors import MeshNotFound, QuotaExceeded
from services.runtime.metrics import CACHE_REQUESTS

__all__ = ["MeshStore"]

Surface = Mesh | PointCloud

_SUFFIX = ".npz"
_SWEEP_SECONDS = 600.0


class MeshStore:
    """Meshes on a file system.

    Args:
        folder: made where it does not exist.
        ttl_seconds: a mesh that nobody used for so long is forgotten.
        max_bytes_per_owner: what one owner may keep on disk.
        memory_bytes: arrays held in memory, over all owners.
    """

    def __init__(self, folder: Path, *, ttl_seconds: float, max_bytes_per_owner: int, memory_bytes: int) -> None:
        self._folder = folder
        self._ttl_seconds = ttl_seconds
        self._max_bytes_per_owner = max_bytes_per_owner
        self._memory_bytes = memory_bytes
        self._held: OrderedDict[tuple[str, str], Surface] = OrderedDict()
        self._held_bytes = 0
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to forget what nobody uses."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        self._sweeping = asyncio.create_task(self._keep_sweeping())

    async def close(self) -> None:
        """Stop forgetting."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def put(self, owner: str, surface: Surface) -> None:
        """Keep a mesh for its owner; keeping it again renews its time.

        Raises:
            QuotaExceeded: the owner keeps too much.
        """
        await asyncio.to_thread(self._write, owner, surface)
        self._hold(owner, surface)

    async def get(self, owner: str, sha256: str) -> Surface:
        """A mesh of this owner.

        Args:
            owner: who asks.
            sha256: 64 lower-case hex digits, checked by the caller.

        Raises:
            MeshNotFound: this owner keeps no such mesh.
        """
        path = self._path(owner, sha256)
        held = self._held.get((owner, sha256))
        CACHE_REQUESTS.labels("mesh", "miss" if held is None else "hit").inc()
        alive = await asyncio.to_thread(self._touch, path)  # another orchestrator may have deleted it
        if not alive:
            self._drop(owner, sha256)
            raise MeshNotFound(f"meshes/{sha256}: is not known; upload it with UploadMesh", metadata={"mesh": sha256})
        if held is None:
            try:
                held = await asyncio.to_thread(_read, path)
            except FileNotFoundError:
                raise MeshNotFound(f"meshes/{sha256}: is not known; upload it", metadata={"mesh": sha256}) from None
            self._hold(owner, held)
        else:
            self._held.move_to_end((owner, sha256))
        return held

    async def delete(self, owner: str, sha256: str) -> None:
        """Forget a mesh of this owner.

        Raises:
            MeshNotFound: this owner keeps no such mesh.
        """
        self._drop(owner, sha256)
        try:
            await asyncio.to_thread(self._path(owner, sha256).unlink)
        except FileNotFoundError:
            raise MeshNotFound(f"meshes/{sha256}: is not known", metadata={"mesh": sha256}) from None

    def _path(self, owner: str, sha256: str) -> Path:
        return self._folder / hashlib.sha256(owner.encode()).hexdigest() / (sha256 + _SUFFIX)

    def _touch(self, path: Path) -> bool:
        """Renew the time of a file; False where there is none, or its time is over."""
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime + self._ttl_seconds > time.time():
                os.utime(path)
                return True
        return False

    def _write(self, owner: str, surface: Surface) -> None:
        path = self._path(owner, surface.content_hash)
        if self._touch(path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = sum(_size(other) for other in path.parent.glob("*" + _SUFFIX))
        if kept + _bytes(surface) > self._max_bytes_per_owner:
            raise QuotaExceeded(
                f"meshes: {kept} bytes are kept already; with this mesh it would be more than the limit of "
                f"{self._max_bytes_per_owner}; delete some",
                metadata={"limit": "mesh_bytes"},
            )
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                if isinstance(surface, Mesh):
                    np.savez(file, vertices=surface.vertices, faces=surface.faces)
                else:
                    np.savez(file, xyz=surface.xyz)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _hold(self, owner: str, surface: Surface) -> None:
        key = (owner, surface.content_hash)
        self._drop(*key)
        self._held[key] = surface
        self._held_bytes += _bytes(surface)
        while self._held_bytes > self._memory_bytes and self._held:
            self._drop(*next(iter(self._held)))

    def _drop(self, owner: str, sha256: str) -> None:
        surface = self._held.pop((owner, sha256), None)
        if surface is not None:
            self._held_bytes -= _bytes(surface)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.to_thread(self._sweep)
            await asyncio.sleep(_SWEEP_SECONDS)

    def _sweep(self) -> None:
        """Erase what is over, whole files and those that a crash left half-written."""
        oldest = time.time() - self._ttl_seconds
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime <= oldest:
                    path.unlink()


def _read(path: Path) -> Surface:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if "faces" in stored:
                return Mesh(stored["vertices"], stored["faces"])
            return PointCloud(stored["xyz"])
    except FileNotFoundError:
        raise
    except Exception as error:
        raise InteractVLMError(f"a stored mesh cannot be read ({type(error).__name__})") from error


def _bytes(surface: Surface) -> int:
    return surface.vertices.nbytes + surface.faces.nbytes if isinstance(surface, Mesh) else surface.xyz.nbytes


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
