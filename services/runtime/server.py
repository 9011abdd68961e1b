"""A gRPC server with everything but the method: see `serve`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from interactvlm.errors import InputError
from services.runtime.admission import Admission
from services.runtime.config import ServerConfig, describe
from services.runtime.health import Health
from services.runtime.interceptor import CallInterceptor
from services.runtime.internal import InternalPort
from services.runtime.logs import configure_logging
from services.runtime.memory import limit_arenas, trim_at_rest
from services.runtime.tls import make_server_credentials
from services.runtime.tracing import Tracing

__all__ = ["Server", "Service", "serve"]

_log = logging.getLogger(__name__)
#: A service whose engine hangs may hold up the end of the process for this long.
_CLOSE_SECONDS = 20.0
#: The event loop shares the interpreter with the device's and the exporter's threads: 5 ms, Python's default, would be
#: added to a call each time one of them computes in Python.
_SWITCH_SECONDS = 0.0005


class Service(Protocol):
    """One proto service as the chassis sees it."""

    @property
    def name(self) -> str:
        """Fully qualified proto service ("interactvlm.v1.VlmService")."""
        ...

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicer (`add_VlmServiceServicer_to_server(self, server)`)."""
        ...

    async def load(self) -> None:
        """Bring models into memory and warm up; health is NOT_SERVING until this ends."""
        ...

    async def close(self) -> None:
        """Let go of everything; called after the last call ended."""
        ...

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer an operator's command (POST /admin/COMMAND on the internal port), e.g. "reload".

        Raises:
            InputError: the command is unknown or its arguments are wrong.
        """
        ...


class Server:
    """The running thing (`serve` is this plus signals): `await start()`, use `port`, `await stop()`, which drains.

    Args:
        services: what to serve.
        config: how.
        shown: the whole configuration for GET /config; `config` by default.
        tracing: takes the place of the tracing that `config` describes (tests).

    Attributes:
        port: public port, once started.
        internal_port: internal port, -1 when there is none.
    """

    def __init__(
        self, services: Sequence[Service], config: ServerConfig, *, shown: Any = None, tracing: Tracing | None = None
    ) -> None:
        self.port = config.port
        self.internal_port = config.internal_port
        self._services = list(services)
        self._config = config
        self._shown = describe(config if shown is None else shown)
        self._tracing = tracing or Tracing(self._services[0].name.rpartition(".")[2], config.otlp_endpoint)
        self._draining = asyncio.Event()
        self._admission = Admission(config)
        self._health = Health()
        self._server: grpc.aio.Server | None = None
        self._internal: InternalPort | None = None
        self._loaded: list[Service] = []
        self._trimming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, load, report SERVING.

        Raises:
            InputError: certificates or tokens cannot be used, or an address is taken.
        """
        try:
            await self._listen()
            for service in self._services:
                self._loaded.append(service)
                await service.load()
                self._admission.open(service.name)
                self._health.report(service.name, serving=True)
            self._health.report("", serving=True)
            self._trimming = asyncio.create_task(trim_at_rest(self._admission.calls))
        except BaseException:
            await self.stop(grace=0)
            raise

    async def stop(self, *, grace: float | None = None) -> None:
        """Report NOT_SERVING, let calls end within `drain_seconds` (or `grace`), close.

        May be called again, to hurry a stop that was cancelled; what is done already is not done twice.
        """
        self._draining.set()
        if self._server is not None:
            for name in self._health.statuses:
                self._health.report(name, serving=False)
            if grace is None and self._config.drain_notice_seconds:
                await asyncio.sleep(self._config.drain_notice_seconds)
            self._health.end()
            await self._server.stop(self._config.drain_seconds if grace is None else grace)
            self._server = None
        if self._trimming is not None:
            self._trimming.cancel()
        while self._loaded:
            service = self._loaded.pop()
            try:
                await asyncio.wait_for(service.close(), _CLOSE_SECONDS)
            except TimeoutError:
                _log.error("a service did not close in time", extra={"fields": {"service": service.name}})
        if self._internal is not None:
            internal, self._internal = self._internal, None
            await internal.stop()
        self._tracing.close()

    async def _listen(self) -> None:
        config = self._config
        interceptor = CallInterceptor(
            admission=self._admission,
            tracing=self._tracing,
            deadline_margin=config.deadline_margin_seconds,
            default_deadline=config.default_deadline_seconds,
            draining=self._draining,
        )
        server = grpc.aio.server(interceptors=[interceptor], options=_options(config))
        for service in self._services:
            service.register(server)
            self._admission.add(service.name)
            self._health.report(service.name, serving=False)
        self._health.report("", serving=False)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if config.reflection:
            names = [service.name for service in self._services]
            reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        address = f"{config.host}:{config.port}"
        credentials = make_server_credentials(config)
        try:
            if credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, credentials)
        except RuntimeError:
            raise InputError("server.port", f"{address} cannot be bound; is another server on it?") from None
        self._server = server
        if config.internal_port >= 0:
            self._internal = InternalPort(health=lambda: self._health.statuses, config=self._shown, admin=self._command)
            try:
                self.internal_port = await self._internal.start(config.internal_host, config.internal_port)
            except OSError as error:
                raise InputError(
                    "server.internal_port",
                    f"{config.internal_host}:{config.internal_port} cannot be bound ({error.strerror})",
                ) from None
        await server.start()

    async def _command(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        rest = dict(arguments)
        wanted = rest.pop("service", None)
        found = [service for service in self._services if wanted in (None, service.name)]
        if not found:
            known = ", ".join(service.name for service in self._services)
            raise InputError("service", f"{wanted!r} is not served here; known: {known}")
        return {service.name: dict(await service.admin(command, rest)) for service in found}


async def serve(
    services: Sequence[Service],
    config: ServerConfig,
    *,
    ready: Callable[[int], None] | None = None,
    shown: Any = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the draining.

    Args:
        services: what to serve.
        config: how.
        ready: called with the public port once every service is SERVING.
        shown: the whole configuration, printed at start and by GET /config; `config` by default.

    Raises:
        InputError: the configuration cannot be used.
    """
    limit_arenas()
    configure_logging(config.log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    loop = asyncio.get_running_loop()
    ending, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if ending.is_set() else ending).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    server = Server(services, config, shown=shown)
    _log.info("starting", extra={"fields": {"config": describe(config if shown is None else shown)}})
    try:
        if not await _finished_before(server.start(), ending):
            return
        _log.info("serving", extra={"fields": {"port": server.port, "internal_port": server.internal_port}})
        if ready is not None:
            ready(server.port)
        await ending.wait()
        _log.info("draining")
        await _finished_before(server.stop(), hurry)
    finally:
        await server.stop(grace=0)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    _log.info("stopped")


async def _finished_before(work: Any, event: asyncio.Event) -> bool:
    """Await `work` unless `event` comes first; then cancel it and answer False."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return True
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False
    finally:
        waiting.cancel()


def _options(config: ServerConfig) -> list[tuple[str, int]]:
    keepalive = round(config.keepalive_seconds * 1000)
    return [
        ("grpc.max_receive_message_length", config.max_request_bytes),
        ("grpc.max_send_message_length", config.max_response_bytes),
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", keepalive // 2),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", keepalive // 2),
        ("grpc.max_connection_age_ms", round(config.max_connection_age_seconds * 1000)),
        # Two servers must never share a port by accident; several processes of one server do so on purpose.
        ("grpc.so_reuseport", int(config.processes > 1)),
    ]
