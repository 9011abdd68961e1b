from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from interactvlm.errors import InputError
from interactvlm.stages import CallContext
from services.runtime.calls import Call, Priority, current_call, use_call
from services.runtime.channels import make_channel
from services.runtime.config import ClientConfig
from services.runtime.errors import ServiceError, StageUnavailable
from services.runtime.identity import ECHO, ECHO_STREAM, IDENTITY, IdentityService
from services.runtime.status import StageError, from_rpc_error
from services.runtime.tracing import Tracing


class LastService(IdentityService):
    """The last hop: remembers calls; "refuse" fails."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.peers: set[str] = set()

    async def echo(self, request: bytes, context: Any) -> bytes:
        self.calls.append(current_call())
        self.peers.add(context.peer())
        if request == b"refuse":
            raise InputError("photo", "is not wanted")
        if request == b"wait":
            await asyncio.sleep(30)
        return request


class MiddleService(IdentityService):
    """The hop before it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__()
        self._next = channel.unary_unary(ECHO)

    async def echo(self, request: bytes, context: Any) -> bytes:
        return bytes(await self._next(request))


@pytest.fixture
async def hop(start_server) -> AsyncIterator[Any]:
    channels = []

    def make(server: Any, config: ClientConfig | None = None) -> grpc.aio.Channel:
        channel = make_channel(f"127.0.0.1:{server.port}", config or ClientConfig())
        channels.append(channel)
        return channel

    yield make
    for channel in channels:
        await channel.close()


async def test_call_travels_over_two_hops(start_server, hop, connect):
    last = LastService()
    middle = MiddleService(hop(await start_server(last)))
    channel = connect(await start_server(middle))
    metadata = (("interactvlm-request-id", "r-1"), ("interactvlm-owner", "alice"), ("interactvlm-priority", "batch"))
    assert await channel.unary_unary(ECHO)(b"x", timeout=9, metadata=metadata) == b"x"
    seen = last.calls[0]
    assert (seen.request_id, seen.owner, seen.priority) == ("r-1", "alice", Priority.BATCH)
    assert 0 < seen.context.remaining() < 9


async def test_stage_error_passes_on_unchanged(start_server, hop, connect):
    middle = MiddleService(hop(await start_server(LastService())))
    channel = connect(await start_server(middle))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(ECHO)(b"refuse", timeout=9)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "photo: is not wanted"
    passed = from_rpc_error(caught.value)
    assert isinstance(passed, StageError)
    assert passed.reason == "INPUT_INVALID"


async def test_own_refused_token_is_not_the_clients_fault(start_server, hop, connect, write_tokens, token_entry):
    last = await start_server(LastService(), tokens_file=str(write_tokens(token_entry("t", "a"))))
    channel = connect(await start_server(MiddleService(hop(last))))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(ECHO)(b"x", timeout=9)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert isinstance(from_rpc_error(caught.value), ServiceError)


async def test_unreachable_stage(start_server, hop, connect):
    server = await start_server(LastService())
    channel = hop(server)
    await server.stop(grace=0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(ECHO)(b"x", timeout=9)
    assert isinstance(from_rpc_error(caught.value), StageUnavailable)


async def test_deadline_of_the_served_call_bounds_the_next_one(start_server, hop):
    channel = hop(await start_server(LastService()))
    began = time.monotonic()
    with use_call(Call(context=CallContext.within(0.2))), pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(ECHO)(b"wait")
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 20


async def test_streams_travel_too(start_server, hop):
    last = LastService()
    channel = hop(await start_server(last))
    with use_call(Call(owner="bob", request_id="s-1")):
        stream = channel.stream_stream(ECHO_STREAM)(iter([b"1", b"2"]), timeout=9)
    assert [answer async for answer in stream] == [b"1", b"2"]
    assert {(call.owner, call.request_id) for call in last.calls} == {("bob", "s-1")}


async def test_tls_token_and_their_rotation(start_server, hop, authority, write_tokens, token_entry, tmp_path):
    pair = authority.issue("localhost")
    last = LastService()
    server = await start_server(
        last,
        tls_certificate=str(pair.certificate),
        tls_key=str(pair.key),
        tokens_file=str(write_tokens(token_entry("t1", "one"), token_entry("t2", "two"))),
    )
    token = tmp_path / "token"
    token.write_text("t1\n")
    channel = hop(server, ClientConfig(tls_ca=str(authority.certificate), token_file=str(token)))
    ask = channel.unary_unary(ECHO)
    assert await ask(b"x", timeout=9) == b"x"
    token.write_text("t2\n")
    channel._watched._period = 0.0
    assert await ask(b"x", timeout=9) == b"x"
    assert [call.owner for call in last.calls] == ["one", "two"]
    assert len(last.peers) == 2
    assert channel.get_state() is grpc.ChannelConnectivity.READY


def test_unreadable_files_end_in_one_sentence(tmp_path):
    for config in (ClientConfig(tls_ca=str(tmp_path / "no")), ClientConfig(token_file=str(tmp_path / "no"))):
        with pytest.raises(InputError, match="cannot be read"):
            make_channel("127.0.0.1:1", config)
    with pytest.raises(InputError, match="belong together"):
        ClientConfig(tls_certificate="a")
    with pytest.raises(InputError, match="round_robin"):
        ClientConfig(load_balancing="best")


async def test_one_trace_over_two_hops(start_server, hop, connect):
    exporter = InMemorySpanExporter()
    first, second = Tracing("middle", exporter=exporter), Tracing("last", exporter=exporter)
    middle = MiddleService(hop(await start_server(IdentityService(), tracing=second)))
    channel = connect(await start_server(middle, tracing=first))
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    await channel.unary_unary(ECHO)(b"x", timeout=9, metadata=(("traceparent", parent),))
    with pytest.raises(grpc.aio.AioRpcError):
        await channel.unary_unary(ECHO)(b"x", timeout=0.0001, metadata=(("traceparent", "nonsense"),))
    for tracing in (first, second):
        tracing._provider.force_flush()
    spans = [span for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == "ab" * 16]
    by_kind = {(span.kind.name, span.resource.attributes["service.name"]): span for span in spans}
    served, called, stage = by_kind["SERVER", "middle"], by_kind["CLIENT", "middle"], by_kind["SERVER", "last"]
    assert f"{served.parent.span_id:016x}" == "cd" * 8
    assert called.parent.span_id == served.context.span_id
    assert stage.parent.span_id == called.context.span_id
    assert stage.attributes["rpc.grpc.status"] == "OK"
    assert stage.attributes["interactvlm.identity.queue_seconds"] >= 0
    assert served.name == f"{IDENTITY}/Echo"


async def test_trace_passes_through_where_nothing_is_recorded(start_server, hop, connect):
    exporter = InMemorySpanExporter()
    tracing = Tracing("last", exporter=exporter)
    middle = MiddleService(hop(await start_server(IdentityService(), tracing=tracing)))
    channel = connect(await start_server(middle))
    await channel.unary_unary(ECHO)(b"x", timeout=9, metadata=(("traceparent", f"00-{'12' * 16}-{'34' * 8}-01"),))
    tracing._provider.force_flush()
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == "12" * 16
    assert f"{span.parent.span_id:016x}" == "34" * 8
