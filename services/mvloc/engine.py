"""The localization stage's engine: meshes held for their owners, embeddings placed in batches on the device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError, QuestionError
from interactvlm.geometry.mesh import Mesh, PointCloud
from services.mvloc.config import MvlocConfig
from services.mvloc.model import Contacts, Item, LocalizationModel, locate_batch
from services.runtime.batching import Batcher
from services.runtime.calls import Call
from services.runtime.device import DeviceWorker
from services.runtime.errors import MeshMissing
from services.runtime.live_models import LiveModels
from services.runtime.owner_cache import OwnerCache

__all__ = ["SURFACE_COST", "LocalizationEngine"]

#: What rendering and encoding a new object costs, in embeddings.
SURFACE_COST = 32.0
_PROBABILITY_BYTES = 4


class LocalizationEngine:
    """Places contact embeddings of many callers on one device."""

    def __init__(self, config: MvlocConfig) -> None:
        self._config = config
        self.worker = DeviceWorker(config.device)
        self._checkers = ThreadPoolExecutor(config.mesh_threads, thread_name_prefix="interactvlm-mesh")
        load = partial(LocalizationModel.load, preload_encoder=config.preload_encoder)
        self.models: LiveModels[LocalizationModel] = LiveModels(load, self.worker)
        self._batcher: Batcher[Item, Contacts] = Batcher(
            locate_batch, cost=_cost, limits=config.batch, worker=self.worker, name="mvloc"
        )
        self._meshes: OwnerCache[Mesh | PointCloud] = OwnerCache(
            "meshes", max_bytes=config.mesh_cache_bytes, size=_mesh_size
        )

    @property
    def pending(self) -> int:
        """Items that wait or run."""
        return self._batcher.pending

    async def load(self) -> None:
        """Load and warm up the configured checkpoints; raises as `interactvlm.loading` does."""
        await self.models.start(self._config, self._config.canary)

    async def close(self) -> None:
        """Finish what is inside, then let go of models and threads."""
        await self._batcher.drain()
        self.models.close()
        self.worker.close()
        self._checkers.shutdown(wait=True, cancel_futures=True)

    async def locate_body(
        self, model: LocalizationModel, embeddings: NDArray[np.float32], tokens: tuple[str, ...], *, call: Call
    ) -> Contacts:
        """Contact on the checkpoint's body.

        Raises:
            QuestionError: the checkpoint has no human head.
            ResourceExhausted: too much work waits.
            DeadlineExceededError, CancelledError: as the call says.
        """
        if not model.localizer.config.has_human_head:
            raise QuestionError("checkpoint_sha256", "names a checkpoint without a human head")
        return await self._batcher.submit(Item(model, None, embeddings, tokens, call.context), call)

    async def locate_object(
        self,
        model: LocalizationModel,
        mesh_sha256: str,
        embeddings: NDArray[np.float32],
        tokens: tuple[str, ...],
        *,
        call: Call,
    ) -> Contacts:
        """Contact on an object that the caller's owner has put here; raises as `locate_body` does, and

        Raises:
            MeshMissing: this owner's mesh is not (or no longer) here.
            InputError: the answer would exceed the server's largest message.
        """
        if not model.localizer.config.has_object_head:
            raise QuestionError("checkpoint_sha256", "names a checkpoint without an object head")
        surface = self._meshes.get(call.owner, mesh_sha256)
        if surface is None:
            raise MeshMissing(
                f"mesh_sha256: {mesh_sha256} is not held here; send it with PutMesh, then repeat",
                metadata={"mesh_sha256": mesh_sha256},
            )
        count = len(surface.xyz if isinstance(surface, PointCloud) else surface.vertices)
        most = self._config.server.max_response_bytes // (2 * _PROBABILITY_BYTES)  # half: masks may come along
        if count * len(tokens) > most:
            raise InputError(
                "queries",
                f"are {len(tokens)} on {count} vertices; the limit of both multiplied is {most}: ask in parts",
            )
        return await self._batcher.submit(Item(model, surface, embeddings, tokens, call.context), call)

    async def put_mesh(self, read_mesh: Callable[[], Mesh | PointCloud], *, call: Call) -> None:
        """Keep a mesh for the caller's owner.

        Args:
            read_mesh: gives the mesh, its hash checked; called on a thread of its own.
            call: whose.

        Raises:
            MeshError: it is not usable.
        """

        def work() -> Mesh | PointCloud:
            call.context.check()
            surface = read_mesh()
            surface.centred()  # a surface without extent is refused here, not in a batch
            return surface

        surface = await asyncio.get_running_loop().run_in_executor(self._checkers, work)
        self._meshes.put(call.owner, surface.content_hash, surface)

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The models' commands, and "clear-cache" (`owner`, or everybody's); None for another command."""
        if command == "clear-cache":
            owner = arguments.get("owner")
            return {"forgotten": self._meshes.clear(None if owner is None else str(owner))}
        return await self.models.admin(command, arguments)


def _cost(item: Item) -> float:
    new = item.surface is not None and not item.model.localizer.holds(item.surface)
    return len(item.tokens) + (SURFACE_COST if new else 0.0)


def _mesh_size(surface: Mesh | PointCloud) -> int:
    return surface.xyz.nbytes if isinstance(surface, PointCloud) else surface.vertices.nbytes + surface.faces.nbytes
