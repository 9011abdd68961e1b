"""Health and reflection: what strangers may ask, and that nobody who left a stream open holds up the server's end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from interactvlm.client.errors import from_call
from services.runtime.config import ServerConfig
from services.runtime.health import Health
from services.runtime.server import Server

NAME = "interactvlm.test.GateService"
ASKED = health_pb2.HealthCheckRequest(service=NAME)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
#: Only a hang takes longer; calls inside would be given more than that.
PATIENCE, DRAIN = 20.0, 120.0


class GateService:
    """Loads when `ready` and answers when `gate` is set."""

    name = NAME

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.gate = asyncio.Event()
        self.inside = asyncio.Event()
        self.closed = False

    def register(self, server: grpc.aio.Server) -> None:
        handlers = {"Wait": grpc.unary_unary_rpc_method_handler(self.wait)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    async def load(self) -> None:
        await self.ready.wait()

    async def close(self) -> None:
        self.closed = True

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}

    async def wait(self, request: bytes, context: Any) -> bytes:
        self.inside.set()
        await self.gate.wait()
        return b"done"


def made_ready() -> GateService:
    made = GateService()
    made.ready.set()
    return made


@pytest.fixture
async def service() -> GateService:
    return made_ready()


async def test_loading_serving_draining(service, connect):
    service.ready.clear()
    server = Server([service], ServerConfig())
    starting = asyncio.create_task(server.start())
    async with asyncio.timeout(PATIENCE):
        while not server.port:
            await asyncio.sleep(0.005)
    channel = connect(server)
    await channel.channel_ready()
    health = health_pb2_grpc.HealthStub(channel)
    wait = channel.unary_unary(f"/{NAME}/Wait")
    assert (await health.Check(ASKED)).status == NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wait(b"")
    assert from_call(caught.value, "").reason == "LOADING"
    service.ready.set()
    await starting
    assert (await health.Check(ASKED)).status == SERVING
    watching = health.Watch(ASKED)
    assert (await watching.read()).status == SERVING
    waiting = wait(b"")
    await service.inside.wait()
    stopping = asyncio.create_task(server.stop(grace=DRAIN))
    assert (await watching.read()).status == NOT_SERVING
    assert await watching.read() is grpc.aio.EOF
    assert not service.closed
    service.gate.set()
    assert await waiting == b"done"
    await stopping
    assert service.closed


async def test_who_is_served(service, start_server, connect):
    health = health_pb2_grpc.HealthStub(connect(await start_server(service)))
    listed = (await health.List(health_pb2.HealthListRequest())).statuses
    assert {name: one.status for name, one in listed.items()} == {NAME: SERVING, "": SERVING}
    stranger = health_pb2.HealthCheckRequest(service="interactvlm.v1.NoSuchService")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(stranger)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watching = health.Watch(stranger)
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watching.cancel()


async def rest(watch: Any) -> list[int]:
    """Statuses until the stream ends."""
    found = []
    while (answer := await watch.read()) is not grpc.aio.EOF:
        found.append(answer.status)
    return found


async def test_watchers_do_not_hold_up_the_end(service, start_server, connect):
    server = await start_server(service, drain_seconds=DRAIN)
    health = health_pb2_grpc.HealthStub(connect(server))
    watches = [health.Watch(health_pb2.HealthCheckRequest(service=name)) for name in (NAME, "", "unknown")]
    firsts = [(await watch.read()).status for watch in watches]
    silent = health_pb2_grpc.HealthStub(connect(server)).Watch(ASKED)  # never reads
    await silent.initial_metadata()
    async with asyncio.timeout(PATIENCE):
        await server.stop()
        lasts = [await rest(watch) for watch in watches]
    assert firsts == [SERVING, SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN]
    assert lasts == [[NOT_SERVING], [NOT_SERVING], []]
    assert {await watch.code() for watch in watches} == {grpc.StatusCode.OK}


async def test_an_open_reflection_does_not_hold_up_the_end(service, start_server, connect):
    server = await start_server(service, drain_seconds=DRAIN)
    stub = reflection_pb2_grpc.ServerReflectionStub(connect(server))
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    assert NAME in {one.name for one in answer.list_services_response.service}
    async with asyncio.timeout(PATIENCE):
        await server.stop()
        assert await call.read() is grpc.aio.EOF


async def test_reflection_can_be_switched_off(service, start_server, connect):
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(connect(await start_server(service)))
    answers = [answer async for answer in stub.ServerReflectionInfo(iter([question]), timeout=10)]
    assert {NAME, "grpc.health.v1.Health"} <= {one.name for one in answers[0].list_services_response.service}
    stub = reflection_pb2_grpc.ServerReflectionStub(connect(await start_server(made_ready(), reflection=False)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ServerReflectionInfo(iter([question]), timeout=10).read()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def watched(stub: Any) -> bool:
    """Whether another watch is let in."""
    try:
        return bool((await stub.Watch(health_pb2.HealthCheckRequest()).read()).status == SERVING)
    except grpc.aio.AioRpcError:
        return False


async def test_watches_are_bounded():
    server = grpc.aio.server()
    told = Health(most_watches=2)
    told.report("", serving=True)
    health_pb2_grpc.add_HealthServicer_to_server(told, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub, all_of_it = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
            watches = [stub.Watch(all_of_it) for _ in range(2)]
            assert [(await watch.read()).status for watch in watches] == [SERVING, SERVING]
            assert await stub.Watch(all_of_it).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (await stub.Check(all_of_it)).status == SERVING
            watches[0].cancel()
            async with asyncio.timeout(PATIENCE):  # the place of one that left is free again
                while not await watched(stub):
                    await asyncio.sleep(0.01)
    finally:
        await server.stop(0)
