"""What an orchestrator runs with: `[server]`, a table a stage, and how calls to stages are balanced."""

from __future__ import annotations

from dataclasses import dataclass, field

from interactvlm.errors import InputError
from services.runtime.config import ClientConfig, ServerConfig

__all__ = ["BalancingConfig", "MeshConfig", "OrchestratorConfig", "PredictConfig", "ReplayConfig", "StageConfig"]


@dataclass(frozen=True, slots=True)
class StageConfig:
    """Where a stage's replicas are and how to speak to them.

    Attributes:
        targets: "HOST:PORT" is one replica, "dns:///HOST:PORT" every address of that name.
        client: TLS, token and limits of the calls.
    """

    targets: tuple[str, ...] = ()
    client: ClientConfig = field(default_factory=ClientConfig)


@dataclass(frozen=True, slots=True)
class BalancingConfig:
    """How calls are spread over a stage's replicas.

    Attributes:
        resolve_seconds: between two looks at DNS.
        probe_seconds: between two health probes of a replica, and how long one may take; two lost ones in a row mean
            that the replica has frozen.
        wait_seconds: how long a call waits for a replica when none serves (a restart), within its deadline.
        max_attempts: attempts of one call in all; only UNAVAILABLE is tried again.
        retry_ratio: retries allowed per call, on average.
        retry_burst: retries allowed at once (a replica's death fails all its calls together).
        hedge_ratio: second requests for slow calls allowed per call, on average; 0 switches hedging off.
        ejection_failures: failures in a row that take a replica out.
        ejection_seconds: for how long, times the number of ejections so far, at most ten times as long.
    """

    resolve_seconds: float = 5.0
    probe_seconds: float = 2.0
    wait_seconds: float = 10.0
    max_attempts: int = 4
    retry_ratio: float = 0.2
    retry_burst: int = 100
    hedge_ratio: float = 0.05
    ejection_failures: int = 5
    ejection_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in ("resolve_seconds", "probe_seconds", "wait_seconds", "ejection_seconds"):
            if getattr(self, name) <= 0:
                raise InputError(f"balancing.{name}", f"is {getattr(self, name)}; it must be positive")
        for name in ("max_attempts", "ejection_failures"):
            if getattr(self, name) < 1:
                raise InputError(f"balancing.{name}", f"is {getattr(self, name)}; it must be at least 1")
        for name in ("retry_ratio", "hedge_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"balancing.{name}", f"is {getattr(self, name)}; it must lie in [0, 1]")


@dataclass(frozen=True, slots=True)
class PredictConfig:
    """Bounds of the work on photos.

    Attributes:
        max_pending: photos in work at once in this process; more are refused with RESOURCE_EXHAUSTED.
        max_pending_bytes: encoded photos of those; more are refused likewise.
        max_in_flight: photos of one PredictStream in work at once.
        photo_memory_bytes: decoded photos held at once; more wait.
        decoders: photos decoded at once.
        max_wait_seconds: how long an item of a stream waits for a stage that is full before it is refused.
    """

    max_pending: int = 256
    max_pending_bytes: int = 2**30
    max_in_flight: int = 32
    photo_memory_bytes: int = 2**30
    decoders: int = 2
    max_wait_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_pending", "max_pending_bytes", "max_in_flight", "photo_memory_bytes", "decoders"):
            if getattr(self, name) < 1:
                raise InputError(f"predict.{name}", f"is {getattr(self, name)}; it must be at least 1")


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """The mesh store.

    Attributes:
        folder: where meshes are kept; several orchestrators share one. Empty: in the platform's cache folder.
        ttl_hours: a mesh that nobody used for so long is forgotten.
        max_bytes_per_owner: what one owner may keep.
        memory_bytes: meshes held in memory.
    """

    folder: str = ""
    ttl_hours: float = 24.0
    max_bytes_per_owner: int = 2 * 2**30
    memory_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """Answers kept for repeated request ids.

    Attributes:
        file: SQLite file that the processes of one machine share; empty keeps them in this process's memory.
        ttl_seconds: for how long an answer is kept.
        max_bytes: answers kept in all; the oldest go first.
    """

    file: str = ""
    ttl_seconds: float = 600.0
    max_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class OrchestratorConfig:
    """Everything.

    Attributes:
        server: how this service listens.
        vlm: the language stage.
        mvloc: the localization stage.
        retrieval: the retrieval stage; without targets its methods are answered UNIMPLEMENTED.
        balancing: how calls are spread over their replicas.
        predict: bounds of the work on photos.
        meshes: the mesh store.
        replay: answers kept for repeated request ids.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    vlm: StageConfig = field(default_factory=StageConfig)
    mvloc: StageConfig = field(default_factory=StageConfig)
    retrieval: StageConfig = field(default_factory=StageConfig)
    balancing: BalancingConfig = field(default_factory=BalancingConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    meshes: MeshConfig = field(default_factory=MeshConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
