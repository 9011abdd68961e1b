"""Stages with an engine of fixed latency behind the whole chassis, and the real servers, each printing its port.

`python -m benchmarks.stage_servers vlm|mvloc` answer every batch after `--batch_seconds`, which the engine sleeps
through, with an embedding and a body's worth of probabilities; `orchestrator`, `retrieval`, `fitting`, `nano-vlm` and
`nano-mvloc` are the real ones. What is left of a request's cost is the pipeline's own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import numpy as np

from benchmarks.identity_servers import ChildServer, child_server
from interactvlm.body.parts import PART_NAMES
from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InputError
from interactvlm.types import ContactAnswer, ModelIdentity, Task, VertexContact
from interactvlm.v1 import mvloc_service_pb2, mvloc_service_pb2_grpc, types_pb2, vlm_service_pb2, vlm_service_pb2_grpc
from interactvlm.wire import (
    decode_contact_query,
    decode_question,
    encode_answer,
    encode_body,
    encode_contact,
    encode_identity,
    encode_task,
)
from services.fitting.config import FittingConfig
from services.fitting.servicer import FittingService
from services.orchestrator.config import OrchestratorConfig
from services.orchestrator.service import BatchService, ContactService
from services.runtime.batching import Batcher, BatchLimits, DeviceWorker
from services.runtime.calls import current_call
from services.runtime.config import ServerConfig, load_config
from services.runtime.server import Service, serve

__all__ = ["Deployment", "deployment"]

#: As many vertices as the nano set's body has.
_VERTICES = 10066
_CHANNELS = 256
_IDENTITY = ModelIdentity("fixed latency", "f" * 64)


@dataclass(frozen=True)
class StageConfig:
    """Configuration of a stage of fixed latency.

    Attributes:
        batch_seconds: how long the engine takes for any batch.
        limits: bounds of its batcher.
        server: as for every server.
    """

    batch_seconds: float = 0.02
    limits: BatchLimits = field(default_factory=BatchLimits)
    server: ServerConfig = field(default_factory=ServerConfig)


class _FixedStage:
    """What both stages share: an engine that sleeps, and one live checkpoint."""

    name = ""

    def __init__(self, config: StageConfig) -> None:
        self._config = config

    async def load(self) -> None:
        """See `Service`."""
        self._worker = DeviceWorker(self.name)
        self._batcher: Batcher[int, int] = Batcher(
            self._compute, cost=lambda item: 1.0, limits=self._config.limits, worker=self._worker, name=self.name
        )

    async def close(self) -> None:
        """See `Service`."""
        await self._batcher.drain()
        self._worker.close()

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """There are no commands."""
        raise InputError("command", f"{command!r} is not known; there are none")

    async def engine(self, questions: int) -> int:
        """Wait until a batch with this item has run."""
        return await self._batcher.submit(questions, current_call())

    async def GetModelInfo(  # noqa: N802 - the contract's name
        self, request: vlm_service_pb2.GetModelInfoRequest, context: Any
    ) -> vlm_service_pb2.ModelInfo:
        """The one checkpoint."""
        live = vlm_service_pb2.LiveModel(
            model=encode_identity(_IDENTITY),
            weight=1.0,
            tasks=[encode_task(Task.BINARY)],
            body_topology="fixed",
            body_vertex_count=_VERTICES,
        )
        return vlm_service_pb2.ModelInfo(models=[live], device="none")

    def _compute(self, items: list[int]) -> list[int]:
        if self._config.batch_seconds:
            time.sleep(self._config.batch_seconds)
        return items


class FixedVlm(_FixedStage, vlm_service_pb2_grpc.VlmServiceServicer):
    """VlmService; the engine that is replaced includes reading the photo."""

    name = "interactvlm.v1.VlmService"

    def register(self, server: grpc.aio.Server) -> None:
        """See `Service`."""
        vlm_service_pb2_grpc.add_VlmServiceServicer_to_server(self, server)

    async def Answer(  # noqa: N802 - the contract's name
        self, request: vlm_service_pb2.AnswerRequest, context: Any
    ) -> vlm_service_pb2.AnswerResponse:
        """One embedding a question."""
        questions = [decode_question(message, field=f"questions[{i}]") for i, message in enumerate(request.questions)]
        await self.engine(len(questions))
        answer = ContactAnswer("[HCON]", np.ones(_CHANNELS, np.float32), "[HCON]", 1.0)
        return vlm_service_pb2.AnswerResponse(
            answers=[encode_answer(answer) for _ in questions], model=encode_identity(_IDENTITY)
        )


class FixedMvloc(_FixedStage, mvloc_service_pb2_grpc.MvlocServiceServicer):
    """MvlocService, for the body."""

    name = "interactvlm.v1.MvlocService"

    def __init__(self, config: StageConfig) -> None:
        super().__init__(config)
        dice = np.random.default_rng(7)
        vertices = dice.normal(size=(_VERTICES, 3)).astype(np.float32)
        faces = np.arange(_VERTICES - _VERTICES % 3, dtype=np.int32).reshape(-1, 3)
        parts = dice.integers(0, len(PART_NAMES), _VERTICES).astype(np.uint8)
        self._body = BodyTemplate("fixed", vertices, faces, parts)
        self._contact = VertexContact(dice.random(_VERTICES, dtype=np.float32) ** 4)

    def register(self, server: grpc.aio.Server) -> None:
        """See `Service`."""
        mvloc_service_pb2_grpc.add_MvlocServiceServicer_to_server(self, server)

    async def LocateBody(  # noqa: N802 - the contract's name
        self, request: mvloc_service_pb2.LocateBodyRequest, context: Any
    ) -> mvloc_service_pb2.LocateResponse:
        """Probabilities of all vertices for each embedding."""
        queries = [decode_contact_query(message, field="queries", channels=_CHANNELS) for message in request.queries]
        await self.engine(len(queries))
        return mvloc_service_pb2.LocateResponse(
            contacts=[encode_contact(self._contact) for _ in queries],
            model=encode_identity(_IDENTITY),
            surface=self._body.topology,
        )

    async def GetCheckpointBody(  # noqa: N802 - the contract's name
        self, request: mvloc_service_pb2.GetCheckpointBodyRequest, context: Any
    ) -> types_pb2.Body:
        """The body."""
        return encode_body(self._body)


@dataclass(frozen=True)
class Deployment:
    """An orchestrator over its stages, all on this machine.

    Attributes:
        orchestrator: the front.
        vlm: replicas of the language stage.
        mvloc: the localization stage.
    """

    orchestrator: ChildServer
    vlm: tuple[ChildServer, ...]
    mvloc: ChildServer

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time so far: of this process, and of the servers by stage."""
        return {
            "generator": time.process_time(),
            "orchestrator": self.orchestrator.cpu_seconds(),
            "vlm": sum(server.cpu_seconds() for server in self.vlm),
            "mvloc": self.mvloc.cpu_seconds(),
        }

    def resident_bytes(self) -> dict[str, int]:
        """Memory of each server now; the first replica stands for the language stage."""
        servers = {"orchestrator": self.orchestrator, "vlm": self.vlm[0], "mvloc": self.mvloc}
        return {name: server.resident_bytes() for name, server in servers.items()}


@contextmanager
def deployment(
    *,
    replicas: int = 1,
    nano: bool = False,
    vlm: Sequence[str] = (),
    mvloc: Sequence[str] = (),
    front: Sequence[str] = (),
) -> Iterator[Deployment]:
    """Start everything; it ends with the block.

    Args:
        replicas: of the language stage.
        nano: the real stages with the nano set, instead of those of fixed latency.
        vlm: further flags of the language stage.
        mvloc: further flags of the localization stage.
        front: further flags of the orchestrator.
    """
    kind = "nano-" if nano else ""
    start = partial(child_server, module="benchmarks.stage_servers")
    with ExitStack() as stack:
        children = [*(start(f"{kind}vlm", *vlm) for _ in range(replicas)), start(f"{kind}mvloc", *mvloc)]
        with ThreadPoolExecutor() as threads:  # each waits until its server serves
            *languages, localization = threads.map(stack.enter_context, children)
        targets = ",".join(f"127.0.0.1:{server.port}" for server in languages)
        first = stack.enter_context(
            start("orchestrator", f"--vlm.targets={targets}", f"--mvloc.targets=127.0.0.1:{localization.port}", *front)
        )
        yield Deployment(first, tuple(languages), localization)


def _vlm(arguments: Sequence[str]) -> tuple[list[Service], ServerConfig]:
    config = load_config(StageConfig, arguments=arguments)
    return [FixedVlm(config)], config.server


def _mvloc(arguments: Sequence[str]) -> tuple[list[Service], ServerConfig]:
    config = load_config(StageConfig, arguments=arguments)
    return [FixedMvloc(config)], config.server


def _nano_vlm(arguments: Sequence[str]) -> tuple[list[Service], ServerConfig]:
    from services.vlm.config import VlmConfig
    from services.vlm.servicer import VlmService

    config = load_config(VlmConfig, arguments=arguments)
    return [VlmService(config)], config.server


def _nano_mvloc(arguments: Sequence[str]) -> tuple[list[Service], ServerConfig]:
    from services.mvloc.config import MvlocConfig
    from services.mvloc.servicer import MvlocService

    config = load_config(MvlocConfig, arguments=arguments)
    return [MvlocService(config)], config.server


def _orchestrator(arguments: Sequence[str]) -> tuple[list[Service], ServerConfig]:
    config = load_config(OrchestratorConfig, arguments=arguments)
    return [ContactService(config), BatchService()], config.server


def _retrieval(arguments: Sequence[str]) -> tuple[list[Service], ServerConfig]:
    from services.retrieval.__main__ import make
    from services.retrieval.config import RetrievalConfig

    config = load_config(RetrievalConfig, arguments=arguments)
    return make(config), config.server


def _fitting(arguments: Sequence[str]) -> tuple[list[Service], ServerConfig]:
    return [FittingService()], load_config(FittingConfig, arguments=arguments).server


_KINDS: dict[str, Callable[[Sequence[str]], tuple[list[Service], ServerConfig]]] = {
    "vlm": _vlm,
    "mvloc": _mvloc,
    "nano-vlm": _nano_vlm,
    "nano-mvloc": _nano_mvloc,
    "retrieval": _retrieval,
    "fitting": _fitting,
    "orchestrator": _orchestrator,
}


def main() -> None:
    """Serve until terminated."""
    kind, *arguments = sys.argv[1:]
    services, server = _KINDS[kind](arguments)
    asyncio.run(serve(services, server, ready=lambda port: print(port, flush=True)))


if __name__ == "__main__":
    main()
