"""Channels between services: TLS, token, deadline, request id, owner, priority and trace go along by themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.trace import Span
from opentelemetry.trace.status import StatusCode as SpanStatus

from interactvlm.errors import InputError
from services.runtime.calls import OWNER_KEY, PRIORITY_KEY, REQUEST_ID_KEY, maybe_current_call
from services.runtime.config import ClientConfig
from services.runtime.tracing import TRACEPARENT_KEY, start_client_span, traceparent_of
from services.runtime.watched import WatchedFiles

__all__ = ["make_channel"]

#: An outgrown connection may end its calls for this long.
_OLD_CONNECTION_GRACE = 300.0


def make_channel(target: str, config: ClientConfig) -> grpc.aio.Channel:
    """A channel to `target` ("dns:///vlm:50051", "127.0.0.1:50051").

    Calls made on it while a call is being served carry that call's request id, owner, priority, trace and, unless
    `timeout` is given, what is left of its deadline. Replaced certificate and token files count within a second: new
    calls take a new connection, old ones end on theirs. gRPC itself repeats only calls that reached no handler
    (GOAWAY); retries are the balancer's business.

    Raises:
        InputError: a certificate or token file cannot be read.
    """
    return _Channel(target, config)


class _Channel(grpc.aio.Channel):
    """Adds what travels along to every call of an ordinary channel.

    Wrapping the multi-callables is several times cheaper per call than gRPC's client interceptors.
    """

    def __init__(self, target: str, config: ClientConfig) -> None:
        self._target = target
        self._config = config
        self._watched = WatchedFiles([config.tls_ca, config.tls_certificate, config.tls_key, config.token_file])
        self._authorization = _authorization(config)
        self.generation = 0
        self._inner = _connect(target, config)
        self._beside: set[asyncio.Task[None]] = set()

    @property
    def inner(self) -> grpc.aio.Channel:
        """The present connection."""
        if self._watched.changed():
            try:
                authorization, fresh = _authorization(self._config), _connect(self._target, self._config)
            except InputError:
                return self._inner  # half-replaced files; the next look finds them whole
            self._authorization = authorization
            outgrown, self._inner = self._inner, fresh
            self.generation += 1
            self.keep(outgrown.close(_OLD_CONNECTION_GRACE))
        return self._inner

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something to its end beside the calls, at most until the channel closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def travelling(self, given: Any, span: Span | None) -> list[tuple[str, str | bytes]]:
        """The metadata of one call: the caller's own and what the current call hands on."""
        metadata: list[tuple[str, str | bytes]] = list(given or ())
        keys = {key for key, _ in metadata}
        if self._authorization and "authorization" not in keys:
            metadata.append(("authorization", self._authorization))
        if (traceparent := traceparent_of(span)) is not None:
            metadata.append((TRACEPARENT_KEY, traceparent))
        if (call := maybe_current_call()) is not None:
            handed = ((REQUEST_ID_KEY, call.request_id), (OWNER_KEY, call.owner), (PRIORITY_KEY, call.priority.wire))
            metadata.extend((key, value) for key, value in handed if value and key not in keys)
        return metadata

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _MultiCallable(self, "unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _MultiCallable(self, "unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _MultiCallable(self, "stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _MultiCallable(self, "stream_stream", args, kwargs)

    async def close(self, grace: float | None = None) -> None:
        """Close the connection, calls in flight get `grace` seconds."""
        for task in list(self._beside):
            task.cancel()
        await self._inner.close(grace)

    async def __aenter__(self) -> _Channel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See `grpc.aio.Channel`."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See `grpc.aio.Channel`."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See `grpc.aio.Channel`."""
        await self._inner.channel_ready()


class _MultiCallable:
    """One method on whichever connection is present."""

    def __init__(self, channel: _Channel, kind: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self._channel = channel
        self._kind = kind
        self._args = args
        self._kwargs = kwargs
        self._method = str(args[0] if args else kwargs["method"])
        self._generation = -1
        self._inner: Callable[..., Any] | None = None

    def __call__(self, *request: Any, timeout: float | None = None, metadata: Any = None, **rest: Any) -> Any:
        connection = self._channel.inner
        if self._inner is None or self._generation != self._channel.generation:
            self._inner = getattr(connection, self._kind)(*self._args, **self._kwargs)
            self._generation = self._channel.generation
        if timeout is None and (served := maybe_current_call()) is not None:
            timeout = served.context.remaining()
        span = start_client_span(self._method)
        call = self._inner(
            *request,
            timeout=None if timeout is None else max(timeout, 0.0),
            metadata=self._channel.travelling(metadata, span),
            **rest,
        )
        if span is not None:
            call.add_done_callback(lambda ended: self._channel.keep(_end_span(span, ended)))
        return call


async def _end_span(span: Span, call: Any) -> None:
    code: grpc.StatusCode = await call.code()
    span.set_attribute("rpc.grpc.status", code.name)
    if code is not grpc.StatusCode.OK:
        span.set_status(SpanStatus.ERROR)
    span.end()


def _connect(target: str, config: ClientConfig) -> grpc.aio.Channel:
    keepalive = round(config.keepalive_seconds * 1000)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5000),
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{config.load_balancing: {}}]})),
    ]
    if not config.secure:
        return grpc.aio.insecure_channel(target, options)
    if config.tls_server_name:
        options.append(("grpc.ssl_target_name_override", config.tls_server_name))
    credentials = grpc.ssl_channel_credentials(
        _bytes("tls_ca", config.tls_ca),
        _bytes("tls_key", config.tls_key),
        _bytes("tls_certificate", config.tls_certificate),
    )
    return grpc.aio.secure_channel(target, credentials, options)


def _bytes(field: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(field, f"{path} cannot be read ({error.strerror})") from None


def _authorization(config: ClientConfig) -> str:
    token = _bytes("token_file", config.token_file)
    return f"Bearer {token.decode('utf-8', 'replace').strip()}" if token else ""
