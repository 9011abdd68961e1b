"""What a server runs with: typed dataclasses from a TOML file, the environment and flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["ClientConfig", "ServerConfig", "describe", "load_config"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a server listens, whom it lets in and how it ends."""

    host: str = "127.0.0.1"
    port: int = 0
    internal_host: str = "127.0.0.1"
    internal_port: int = 0
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    tokens_file: str = ""
    allow_anonymous: bool = False
    reflection: bool = True
    max_request_bytes: int = 64 * 2**20
    max_response_bytes: int = 64 * 2**20
    max_concurrent_calls: int = 1024
    keepalive_seconds: float = 30.0
    max_connection_age_seconds: float = 300.0
    deadline_margin_seconds: float = 0.02
    default_deadline_seconds: float = 120.0
    drain_notice_seconds: float = 0.0
    drain_seconds: float = 30.0
    otlp_endpoint: str = ""
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How this service calls another one."""

    tls: bool = False
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_server_name: str = ""
    token_file: str = ""
    max_message_bytes: int = 64 * 2**20
    keepalive_seconds: float = 30.0


def load_config(
    cls: type[T],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> T:
    """A `cls` (nested dataclasses allowed): defaults, then the TOML file, then INTERACTVLM_SERVER_PORT, then flags.

    `arguments` is a command line: `--config FILE`, `--server.port 50051`.
    """
    raise NotImplementedError


def describe(config: Any) -> dict[str, Any]:
    """The configuration as plain values, secrets masked."""
    raise NotImplementedError
