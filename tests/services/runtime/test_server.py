from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from interactvlm.client.endpoint import CHANNEL_OPTIONS
from interactvlm.errors import InputError, PhotoError
from services.runtime.calls import Call, Priority, current_call
from services.runtime.errors import QueueFull
from services.runtime.identity import ECHO, ECHO_STREAM, IDENTITY, IdentityService

PROBE = "interactvlm.test.ProbeService"


class ProbeService:
    """Does what its request says and remembers the calls it saw."""

    name = PROBE

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.running = 0
        self.gate = asyncio.Event()
        self.ready = asyncio.Event()
        self.ready.set()
        self.closed = False

    def register(self, server: grpc.aio.Server) -> None:
        handlers = {
            "Do": grpc.unary_unary_rpc_method_handler(self.do),
            "Tell": grpc.unary_stream_rpc_method_handler(self.tell),
            "Picky": grpc.unary_unary_rpc_method_handler(self.do, request_deserializer=json.loads),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PROBE, handlers),))

    async def load(self) -> None:
        await self.ready.wait()

    async def close(self) -> None:
        self.closed = True

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if command == "reload":
            return {"reloaded": dict(arguments)}
        raise InputError("command", f"{command!r} is not known; known: reload")

    async def do(self, request: bytes, context: Any) -> bytes:
        self.calls.append(current_call())
        if request == b"photo":
            raise PhotoError("photo", "is 3 x 3 pixels; at least 8 x 8 are needed")
        if request == b"bug":
            raise KeyError("a caller's secret")
        if request == b"full":
            raise QueueFull("queue: 9 wait (limit 9)", retry_after=0.25)
        if request == b"wait":
            self.running += 1
            try:
                await self.gate.wait()
            finally:
                self.running -= 1
        return b"done"

    async def tell(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.calls.append(current_call())
        for number in range(3):
            yield str(number).encode()
        if request == b"fail":
            raise PhotoError("photo", "is broken")


async def ask(channel: grpc.aio.Channel, request: bytes, **options: Any) -> bytes:
    answer: bytes = await channel.unary_unary(f"/{PROBE}/Do")(request, **options)
    return answer


def details_of(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    for detail in status.details:
        found = kind()
        if detail.Unpack(found):
            return found
    raise AssertionError(f"no {kind.__name__} in {status}")


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_echo_travels_through_batcher(start_server, connect):
    server = await start_server(IdentityService())
    channel = connect(server)
    assert await channel.unary_unary(ECHO)(b"hello", timeout=10) == b"hello"
    stream = channel.stream_stream(ECHO_STREAM)(iter([b"1", b"2", b"3"]), timeout=10)
    assert [answer async for answer in stream] == [b"1", b"2", b"3"]


async def test_input_error_names_field_reason_and_request(start_server, connect):
    probe = ProbeService()
    channel = connect(await start_server(probe))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, b"photo", metadata=(("interactvlm-request-id", "mine-1"),))
    error = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "3 x 3" in error.details()
    info = details_of(error, error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason) == ("interactvlm", "PHOTO_INVALID")
    assert details_of(error, error_details_pb2.BadRequest).field_violations[0].field == "photo"
    assert details_of(error, error_details_pb2.RequestInfo).request_id == "mine-1"
    assert dict(error.trailing_metadata())["interactvlm-request-id"] == "mine-1"


async def test_unexpected_error_says_nothing_of_its_cause(start_server, connect, caplog):
    channel = connect(await start_server(ProbeService()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, b"bug")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value)
    assert details_of(caught.value, error_details_pb2.ErrorInfo).reason == "INTERNAL"
    assert any(record.exc_info for record in caplog.records if "unexpectedly" in record.message)


async def test_full_queue_tells_when_to_come_back(start_server, connect):
    channel = connect(await start_server(ProbeService()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, b"full")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "250"
    assert details_of(caught.value, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 250


async def test_error_in_the_middle_of_a_stream(start_server, connect):
    channel = connect(await start_server(ProbeService()))
    stream = channel.unary_stream(f"/{PROBE}/Tell")(b"fail", timeout=10)
    assert [await stream.read() for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert details_of(caught.value, error_details_pb2.ErrorInfo).reason == "PHOTO_INVALID"


async def test_bytes_that_are_no_message_are_the_callers_fault(start_server, connect):
    channel = connect(await start_server(ProbeService()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(f"/{PROBE}/Picky")(b"{not json")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(caught.value, error_details_pb2.ErrorInfo).reason == "INPUT_INVALID"


async def test_call_carries_deadline_priority_and_request_id(start_server, connect):
    probe = ProbeService()
    channel = connect(await start_server(probe, deadline_margin_seconds=2.0))
    await ask(channel, b"", timeout=20, metadata=(("interactvlm-priority", "batch"), ("interactvlm-request-id", "no!")))
    await ask(channel, b"")
    first, second = probe.calls
    assert 0 < first.context.remaining() < 18
    assert first.priority is Priority.BATCH
    assert first.request_id not in ("", "no!")
    assert second.priority is Priority.INTERACTIVE
    assert 90 < second.context.remaining() < 120
    assert first.method == f"/{PROBE}/Do"


async def test_expired_on_arrival_never_reaches_the_handler(start_server, connect):
    probe = ProbeService()
    channel = connect(await start_server(probe, deadline_margin_seconds=10.0))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details_of(caught.value, error_details_pb2.ErrorInfo).reason == "DEADLINE_EXCEEDED"
    assert probe.calls == []


async def test_deadline_ends_a_handler_that_ignores_it(start_server, connect):
    probe = ProbeService()
    channel = connect(await start_server(probe, deadline_margin_seconds=9.8))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, b"wait", timeout=10)
    assert details_of(caught.value, error_details_pb2.ErrorInfo).reason == "DEADLINE_EXCEEDED"
    assert probe.running == 0


async def test_cancelled_client_cancels_context_and_handler(start_server, connect):
    probe = ProbeService()
    channel = connect(await start_server(probe))
    call = channel.unary_unary(f"/{PROBE}/Do")(b"wait")
    await until(lambda: probe.running == 1)
    call.cancel()
    await until(lambda: probe.running == 0)
    await until(probe.calls[0].context.should_stop)
    assert await ask(channel, b"") == b"done"


async def test_room_is_bounded(start_server, connect):
    probe = ProbeService()
    channel = connect(await start_server(probe, max_concurrent_calls=1))
    waiting = channel.unary_unary(f"/{PROBE}/Do")(b"wait")
    await until(lambda: probe.running == 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, b"")
    assert details_of(caught.value, error_details_pb2.ErrorInfo).reason == "SERVER_BUSY"
    probe.gate.set()
    assert await waiting == b"done"
    assert await ask(channel, b"") == b"done"


async def test_oversized_request_is_refused(start_server, connect):
    channel = connect(await start_server(ProbeService(), max_request_bytes=2000))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, b"x" * 5000)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await ask(channel, b"") == b"done"


async def test_second_server_on_the_port_is_refused(start_server):
    server = await start_server(ProbeService())
    with pytest.raises(InputError, match="cannot be bound"):
        await start_server(ProbeService(), port=server.port)


async def http(port: int, request: str, body: str = "", kind: str = "application/json") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{request} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write((head + body).encode())
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    head, _, content = answer.partition("\r\n\r\n")
    return int(head.split()[1]), content


async def test_internal_port(start_server, connect):
    server = await start_server(ProbeService(), IdentityService())
    await ask(connect(server), b"")
    status, metrics = await http(server.internal_port, "GET /metrics")
    assert status == 200
    assert f'interactvlm_calls_total{{code="OK",method="/{PROBE}/Do",reason=""}}' in metrics
    status, health = await http(server.internal_port, "GET /health")
    assert (status, json.loads(health)[IDENTITY]) == (200, "SERVING")
    status, config = await http(server.internal_port, "GET /config")
    assert (status, json.loads(config)["host"]) == (200, "127.0.0.1")
    asked = json.dumps({"service": PROBE, "checkpoint": "a"})
    status, answer = await http(server.internal_port, "POST /admin/reload", asked)
    assert (status, json.loads(answer)) == (200, {PROBE: {"reloaded": {"checkpoint": "a"}}})
    assert (await http(server.internal_port, "POST /admin/reload", asked, kind="text/plain"))[0] == 415
    assert (await http(server.internal_port, "POST /admin/explode", "{}"))[0] == 400
    assert (await http(server.internal_port, "POST /admin/reload", '{"service": "x"}'))[0] == 400
    assert (await http(server.internal_port, "POST /admin/reload", "[1"))[0] == 400
    assert (await http(server.internal_port, "GET /etc/passwd"))[0] == 404


async def test_connections_are_renewed_without_a_failed_call(start_server, connect):
    probe = ProbeService()
    peers: set[str] = set()
    do = probe.do

    async def noting(request: bytes, context: Any) -> bytes:
        peers.add(context.peer())
        return await do(request, context)

    probe.do = noting
    channel = connect(await start_server(probe, max_connection_age_seconds=1.0))
    async with asyncio.timeout(30):
        while len(peers) < 3:
            assert await ask(channel, b"", timeout=10) == b"done"


async def test_restart_under_load_fails_no_call_of_our_client(start_server, connect):
    first = await start_server(IdentityService(batch_seconds=0.002))
    channel = connect(first, options=CHANNEL_OPTIONS)
    calls = channel.unary_unary(ECHO)
    outcomes: list[str] = []
    ending = asyncio.Event()

    async def caller() -> None:
        while not ending.is_set():
            try:
                await calls(b"x", timeout=20, wait_for_ready=True)
                outcomes.append("OK")
            except grpc.aio.AioRpcError as error:
                outcomes.append(str(error))

    callers = [asyncio.create_task(caller()) for _ in range(8)]
    await until(lambda: len(outcomes) > 100)
    await first.stop(grace=10)
    await start_server(IdentityService(), port=first.port)
    reached = len(outcomes)
    await until(lambda: len(outcomes) > reached + 100)
    ending.set()
    await asyncio.gather(*callers)
    assert set(outcomes) == {"OK"}


async def test_client_that_leaves_a_stream_harms_nobody(start_server, connect):
    service = IdentityService(batch_seconds=0.01)
    channel = connect(await start_server(service))

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x"

    leaving = channel.stream_stream(ECHO_STREAM)(endless())
    staying = channel.stream_stream(ECHO_STREAM)(iter([b"1", b"2", b"3"]), timeout=20)
    assert await leaving.read() == b"x"
    leaving.cancel()
    assert [answer async for answer in staying] == [b"1", b"2", b"3"]
    await until(lambda: service._batcher.pending == 0)
