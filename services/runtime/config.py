"""What a server runs with: typed dataclasses of configuration shared by all services.

Each service's own configuration is a dataclass that holds a `ServerConfig` as `server`; `settings.load_config` reads it
from TOML, environment and flags. No secret stands in a configuration: keys and tokens are named by file.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from interactvlm.errors import InputError
from services.runtime.settings import describe, load_config

__all__ = ["ClientConfig", "ServerConfig", "describe", "load_config", "refuse_processes"]


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a server listens, whom it lets in and how it ends.

    Attributes:
        host: address of the public port.
        port: public port; 0 takes a free one.
        internal_host: address of the internal port (metrics and admin); no token is asked there.
        internal_port: internal port; 0 takes a free one, -1 opens none.
        processes: processes that share the public port (SO_REUSEPORT); more than one only where no model is held.
        tls_certificate: PEM file of the server's certificate chain; "" serves without TLS.
        tls_key: PEM file of its key.
        tls_client_ca: PEM file of authorities; with it every client must show a certificate they signed.
        delegates: common names of client certificates that may name the owner they work for (our own services).
        tokens_file: TOML file of bearer tokens (see `tokens.py`); "" asks for none.
        allow_anonymous: serve callers without token or client certificate on other addresses than loopback.
        reflection: answer gRPC server reflection.
        max_request_bytes: largest request message.
        max_response_bytes: largest response message.
        max_concurrent_calls: calls in the process; more are refused with SERVER_BUSY.
        keepalive_seconds: HTTP/2 ping interval; clients may ping at half of it.
        max_connection_age_seconds: connections are renewed this often (balancing, certificate rotation).
        deadline_margin_seconds: kept back of a caller's time for the way of the answer.
        default_deadline_seconds: time of a unary call that states none; 0 for unlimited.
        drain_notice_seconds: NOT_SERVING is reported this long before calls are refused.
        drain_seconds: calls inside get this long to end.
        otlp_endpoint: where spans go ("http://collector:4317"); "" records none and only passes the trace on.
        log_level: "debug", "info", "warning" or "error".
    """

    host: str = "127.0.0.1"
    port: int = 0
    internal_host: str = "127.0.0.1"
    internal_port: int = 0
    processes: int = 1
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    delegates: tuple[str, ...] = ()
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

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises InputError."""
        _within("server.port", self.port, 0, 65535)
        _within("server.internal_port", self.internal_port, -1, 65535)
        _within("server.processes", self.processes, 1, 256)
        _within("server.max_request_bytes", self.max_request_bytes, 1024, 2**31 - 1)
        _within("server.max_response_bytes", self.max_response_bytes, 1024, 2**31 - 1)
        _within("server.max_concurrent_calls", self.max_concurrent_calls, 1, 2**20)
        _within("server.keepalive_seconds", self.keepalive_seconds, 1, 7200)
        _within("server.max_connection_age_seconds", self.max_connection_age_seconds, 1, 86400)
        _within("server.deadline_margin_seconds", self.deadline_margin_seconds, 0, 10)
        _within("server.default_deadline_seconds", self.default_deadline_seconds, 0, 86400)
        _within("server.drain_notice_seconds", self.drain_notice_seconds, 0, 600)
        _within("server.drain_seconds", self.drain_seconds, 0, 3600)
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise InputError("server.log_level", f"is {self.log_level!r}; known: debug, info, warning, error")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise InputError("server.tls_key", "stands alone; tls_certificate and tls_key belong together")
        if self.tls_client_ca and not self.tls_certificate:
            raise InputError("server.tls_client_ca", "needs tls_certificate and tls_key")
        if self.processes > 1 and self.port == 0:
            raise InputError("server.port", "is 0; several processes share one stated port")
        guarded = self.tokens_file or self.tls_client_ca or self.allow_anonymous
        if not guarded and not _is_loopback(self.host):
            raise InputError(
                "server.tokens_file",
                f"is empty while host is {self.host}; other machines need tokens_file, tls_client_ca "
                "or allow_anonymous = true",
            )


def refuse_processes(config: ServerConfig) -> None:
    """For a server that holds a model: one process a device, so that its weights are held once and its batches whole.

    Raises:
        InputError: `config` wants several.
    """
    if config.processes > 1:
        raise InputError("server.processes", f"is {config.processes}; this server holds a model: start one a device")


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How this service calls another one.

    Attributes:
        tls: whether to speak TLS; implied by the other tls fields.
        tls_ca: PEM file of the authorities to trust; "" trusts the system's.
        tls_certificate: PEM file of this client's certificate (mTLS).
        tls_key: PEM file of its key.
        tls_server_name: name the server's certificate must carry, when it is not the target's.
        token_file: file whose content is the bearer token.
        max_message_bytes: largest message in either direction.
        keepalive_seconds: HTTP/2 ping interval.
        load_balancing: gRPC's policy for the addresses behind one target ("pick_first" or "round_robin").
    """

    tls: bool = False
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_server_name: str = ""
    token_file: str = ""
    max_message_bytes: int = 64 * 2**20
    keepalive_seconds: float = 30.0
    load_balancing: str = "pick_first"

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises InputError."""
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise InputError("tls_key", "stands alone; tls_certificate and tls_key belong together")
        _within("max_message_bytes", self.max_message_bytes, 1024, 2**31 - 1)
        _within("keepalive_seconds", self.keepalive_seconds, 1, 7200)
        if self.load_balancing not in ("pick_first", "round_robin"):
            raise InputError("load_balancing", f"is {self.load_balancing!r}; known: pick_first, round_robin")

    @property
    def secure(self) -> bool:
        """Whether the channel speaks TLS."""
        return self.tls or bool(self.tls_ca or self.tls_certificate or self.tls_server_name)


def _within(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(field, f"is {value}; it must lie between {low} and {high}")


def _is_loopback(host: str) -> bool:
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
