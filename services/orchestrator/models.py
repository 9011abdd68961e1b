"""Which checkpoints are live on which replica, and the bodies that go with them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import grpc

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InteractVLMError
from interactvlm.stages import CallContext
from interactvlm.v1 import mvloc_service_pb2, mvloc_service_pb2_grpc, vlm_service_pb2, vlm_service_pb2_grpc
from interactvlm.wire import decode_body
from services.orchestrator.balancing import ReplicaPool
from services.orchestrator.calling import StageCaller
from services.orchestrator.replica import Replica
from services.runtime.errors import NotFound, Unavailable

__all__ = ["ModelDirectory"]

_LOOK_SECONDS, _ANSWER_SECONDS = 0.1, 5.0
_ASK_SOON_SECONDS, _ASK_AGAIN_SECONDS = 0.5, 10.0
_BODY_SECONDS = 30.0
_Stub = Callable[[grpc.aio.Channel], Any]


class ModelDirectory:
    """Asks every replica from time to time what it holds.

    Args:
        language: calls to vlm.
        localization: calls to mvloc.
    """

    def __init__(self, *, language: StageCaller, localization: StageCaller) -> None:
        self._language = language.pool
        self._localization = localization.pool
        self._call_localization = localization.call
        self._infos: dict[Replica, vlm_service_pb2.ModelInfo] = {}
        self._asked: dict[Replica, float] = {}
        self._bodies: dict[str, BodyTemplate] = {}
        self._asking: dict[str, asyncio.Task[BodyTemplate]] = {}
        self._background: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to ask; returns when one replica of each stage has answered."""
        self._background = asyncio.create_task(self._keep_asking())
        while not (self._live(self._language) and self._live(self._localization)):
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """Stop asking."""
        for task in filter(None, [self._background, *self._asking.values()]):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def live_models(self) -> list[vlm_service_pb2.LiveModel]:
        """Checkpoints that both stages hold, the one with the most weight first; weights over all replicas."""
        bodies = self._live(self._localization)
        replicas = [info for replica, info in self._infos.items() if replica in self._language.replicas]
        found = []
        for sha256, model in self._live(self._language).items():
            if sha256 not in bodies:
                continue
            shares = [
                live.weight for info in replicas for live in info.models if live.model.checkpoint_sha256 == sha256
            ]
            merged = vlm_service_pb2.LiveModel()
            merged.CopyFrom(model)
            merged.weight = sum(shares) / len(replicas)
            merged.body_topology = bodies[sha256].body_topology
            merged.body_vertex_count = bodies[sha256].body_vertex_count
            found.append(merged)
        return sorted(found, key=lambda live: -live.weight)

    def close_up(self, checkpoint: str) -> bool:
        """Whether a live checkpoint wants to see the region around the person; for "", whether any does."""
        bodies = self._live(self._localization)
        return any(
            live.model.close_up
            for sha256, live in self._live(self._language).items()
            if checkpoint in ("", sha256) and sha256 in bodies
        )

    async def body(self, checkpoint: str, *, context: CallContext) -> BodyTemplate:
        """The body that a checkpoint's human contacts lie on, asked for once.

        Raises:
            InteractVLMError: the localization stage cannot tell.
        """
        if checkpoint not in self._bodies:
            task = self._asking.get(checkpoint)
            if task is None:
                task = self._asking[checkpoint] = asyncio.create_task(self._fetch_body(checkpoint))
                task.add_done_callback(lambda done: self._asked_body(checkpoint, done))
            try:
                return await asyncio.wait_for(asyncio.shield(task), context.remaining())
            except TimeoutError:
                context.check()
                raise
        return self._bodies[checkpoint]

    async def body_named(self, topology: str, *, context: CallContext) -> BodyTemplate:
        """The body of that topology among the live checkpoints; "" for the default checkpoint's.

        Raises:
            NotFound: no live checkpoint lies on it.
            Unavailable: no checkpoint is live.
        """
        live = self.live_models()
        if not live:
            raise Unavailable("no checkpoint is live on both stages", retry_after=1.0)
        for model in live:
            if topology in ("", model.body_topology):
                return await self.body(model.model.checkpoint_sha256, context=context)
        known = ", ".join(sorted({model.body_topology for model in live}))
        raise NotFound(f"bodies/{topology}: no live checkpoint answers on this body; there are: {known}")

    async def _fetch_body(self, checkpoint: str) -> BodyTemplate:
        request = mvloc_service_pb2.GetCheckpointBodyRequest(checkpoint_sha256=checkpoint)

        async def attempt(replica: Replica) -> BodyTemplate:
            stub = replica.stub(mvloc_service_pb2_grpc.MvlocServiceStub)
            return decode_body(await stub.GetCheckpointBody(request, timeout=_BODY_SECONDS))

        body = await self._call_localization(
            attempt, method="GetCheckpointBody", context=CallContext.within(_BODY_SECONDS), checkpoint=checkpoint
        )
        self._bodies[checkpoint] = body
        return body

    def _asked_body(self, checkpoint: str, done: asyncio.Task[BodyTemplate]) -> None:
        del self._asking[checkpoint]
        if not done.cancelled():
            done.exception()  # told to whoever waits; nobody may be left

    def _live(self, pool: ReplicaPool) -> dict[str, vlm_service_pb2.LiveModel]:
        found: dict[str, vlm_service_pb2.LiveModel] = {}
        for replica in pool.replicas:
            for live in self._infos[replica].models if replica in self._infos else ():
                found.setdefault(live.model.checkpoint_sha256, live)
        return found

    async def _keep_asking(self) -> None:
        stubs: list[tuple[ReplicaPool, _Stub]] = [
            (self._language, vlm_service_pb2_grpc.VlmServiceStub),
            (self._localization, mvloc_service_pb2_grpc.MvlocServiceStub),
        ]
        while True:
            now = time.monotonic()
            due = [
                (replica, stub)
                for pool, stub in stubs
                for replica in pool.replicas
                if replica.serving
                and now - self._asked.get(replica, 0.0)
                > (_ASK_SOON_SECONDS if replica.checkpoints is None else _ASK_AGAIN_SECONDS)
            ]
            await asyncio.gather(*(self._ask(replica, stub) for replica, stub in due))
            known = {replica for pool, _ in stubs for replica in pool.replicas}
            for gone in self._asked.keys() - known:
                self._asked.pop(gone)
                self._infos.pop(gone, None)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self, replica: Replica, kind: _Stub) -> None:
        self._asked[replica] = time.monotonic()
        with contextlib.suppress(grpc.aio.AioRpcError, InteractVLMError):  # asked again soon
            info = await replica.stub(kind).GetModelInfo(vlm_service_pb2.GetModelInfoRequest(), timeout=_ANSWER_SECONDS)
            self._infos[replica] = info
            replica.checkpoints = frozenset(live.model.checkpoint_sha256 for live in info.models)
