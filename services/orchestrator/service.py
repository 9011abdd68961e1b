"""The two public services as the chassis sees them, put together from a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc
from platformdirs import user_cache_path

from interactvlm.errors import InputError
from interactvlm.local import LocalPeople, Worker, load_detector
from interactvlm.v1 import batch_service_pb2_grpc, contact_service_pb2_grpc
from services.orchestrator.balancing import ReplicaPool
from services.orchestrator.batch_servicer import BatchServicer
from services.orchestrator.body_calls import BodyCalls
from services.orchestrator.calling import StageCaller
from services.orchestrator.config import OrchestratorConfig, ReplayConfig, StageConfig
from services.orchestrator.contact_servicer import ContactServicer
from services.orchestrator.discovery import Address, Discovery
from services.orchestrator.mesh_pushes import MeshPushes
from services.orchestrator.mesh_store import MeshStore
from services.orchestrator.models import ModelDirectory
from services.orchestrator.photos import PhotoRoom
from services.orchestrator.prediction import Predictor
from services.orchestrator.replay import AnswerStore, Replay
from services.orchestrator.replay_file import FileAnswers
from services.orchestrator.replay_memory import MemoryAnswers
from services.orchestrator.stages import Stages
from services.orchestrator.uploads import MeshReader
from services.runtime.channels import make_channel
from services.runtime.memory import map_large_blocks

__all__ = ["BatchService", "ContactService", "make_pool", "replica_states"]

_HOUR = 3600.0


class ContactService:
    """ContactService and everything it needs; see `services.runtime.server.Service`.

    Args:
        config: of the orchestrator.

    Raises:
        InputError: a stage's targets are missing or malformed.
    """

    name = "interactvlm.v1.ContactService"

    def __init__(self, config: OrchestratorConfig) -> None:
        language = StageCaller(make_pool("vlm", "VlmService", config.vlm, config), config.balancing)
        localization = StageCaller(make_pool("mvloc", "MvlocService", config.mvloc, config), config.balancing)
        self._pools = [language.pool, localization.pool]
        self._models = ModelDirectory(language=language, localization=localization)
        self._meshes = MeshStore(
            Path(config.meshes.folder or user_cache_path("interactvlm") / "meshes"),
            ttl_seconds=config.meshes.ttl_hours * _HOUR,
            max_bytes_per_owner=config.meshes.max_bytes_per_owner,
            memory_bytes=config.meshes.memory_bytes,
        )
        self._photos = PhotoRoom(capacity=config.predict.photo_memory_bytes, decoders=config.predict.decoders)
        self._replays = _answers(config.replay)
        self._reader = MeshReader()
        self._worker = Worker()
        predictor = Predictor(
            stages=Stages(language, localization, BodyCalls(localization), MeshPushes(), self._models),
            people=LocalPeople(load_detector(), self._worker),
            meshes=self._meshes,
            photos=self._photos,
            replay=Replay(self._replays),
            max_pending=config.predict.max_pending,
            max_pending_bytes=config.predict.max_pending_bytes,
            max_answer_bytes=config.server.max_response_bytes,
        )
        self._servicer = ContactServicer(
            predictor=predictor,
            meshes=self._meshes,
            reader=self._reader,
            models=self._models,
            max_in_flight=config.predict.max_in_flight,
            item_seconds=config.server.default_deadline_seconds,
            max_wait_seconds=config.predict.max_wait_seconds,
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicer."""
        contact_service_pb2_grpc.add_ContactServiceServicer_to_server(self._servicer, server)

    async def load(self) -> None:
        """Find the stages; returns once a replica of each serves."""
        map_large_blocks()
        await self._meshes.start()
        for pool in self._pools:
            await pool.start()
        await self._models.start()

    async def close(self) -> None:
        """Let go of stages, threads and files."""
        await self._models.close()
        for pool in self._pools:
            await pool.close()
        await self._meshes.close()
        await self._replays.close()
        self._photos.close()
        self._reader.close()
        self._worker.close()

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """`replicas`: every stage's replicas as they are seen from here."""
        if command != "replicas":
            raise InputError("command", f"{command!r} is not known; known: replicas")
        return replica_states(self._pools)


class BatchService:
    """BatchService; see `services.runtime.server.Service`."""

    name = "interactvlm.v1.BatchService"

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicer."""
        batch_service_pb2_grpc.add_BatchServiceServicer_to_server(BatchServicer(), server)

    async def load(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go."""

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """There are no commands."""
        raise InputError("command", f"{command!r} is not known; BatchService has none")


def make_pool(name: str, service: str, stage: StageConfig, config: OrchestratorConfig) -> ReplicaPool:
    """The replicas of a stage, not looked for yet.

    Args:
        name: of the stage, for errors and metrics ("vlm").
        service: its gRPC service, without the package.
        stage: where they are.
        config: how calls are balanced.

    Raises:
        InputError: targets are missing or malformed.
    """

    def connect(address: Address) -> grpc.aio.Channel:
        client = stage.client
        if client.secure and address.server_name and not client.tls_server_name:
            client = dataclasses.replace(client, tls_server_name=address.server_name)
        return make_channel(address.target, client)

    return ReplicaPool(
        name=name,
        service=f"interactvlm.v1.{service}",
        discovery=Discovery(stage.targets, field=f"{name}.targets"),
        connect=connect,
        config=config.balancing,
    )


def replica_states(pools: Iterable[ReplicaPool]) -> dict[str, list[dict[str, Any]]]:
    """Every replica as it is seen from here, by stage."""
    return {
        pool.name: [
            {
                "address": replica.address,
                "serving": replica.serving,
                "ejected": replica.ejected,
                "outstanding": replica.outstanding,
                "checkpoints": sorted(replica.checkpoints or ()),
            }
            for replica in pool.replicas
        ]
        for pool in pools
    }


def _answers(config: ReplayConfig) -> AnswerStore:
    if not config.file:
        return MemoryAnswers(ttl_seconds=config.ttl_seconds, max_bytes=config.max_bytes)
    return FileAnswers(Path(config.file), ttl_seconds=config.ttl_seconds, max_bytes=config.max_bytes)
