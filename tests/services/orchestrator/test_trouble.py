from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interactvlm.errors import DeadlineExceededError
from interactvlm.stages import CallContext
from interactvlm.v1 import contact_service_pb2, types_pb2
from services.orchestrator.balancing import ReplicaPool
from services.orchestrator.calling import StageCaller
from services.orchestrator.config import BalancingConfig
from services.orchestrator.discovery import Discovery
from services.orchestrator.replica import Replica, ReplicaLostError
from services.runtime.errors import ServiceError, StageUnavailable, Unavailable

Request = contact_service_pb2.PredictRequest
WHOLE = types_pb2.PersonSelector(whole_photo=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_calls_are_spread(build_house, png: bytes) -> None:
    house = await build_house(vlm=3)
    for stage in house.vlm:
        stage.delay = 0.02
    for _ in range(6):
        await asyncio.gather(*(house.contact.Predict(Request(photo=png, person=WHOLE)) for _ in range(10)))
    assert min(stage.calls["Answer"] for stage in house.vlm) >= 10


async def test_a_replica_that_dies_costs_no_call(build_house, png: bytes) -> None:
    house = await build_house(vlm=2)
    for stage in house.vlm:
        stage.delay = 0.3
    calls = [asyncio.create_task(_predict(house, png)) for _ in range(8)]
    await until(lambda: sum(stage.running for stage in house.vlm) == 8)
    await house.servers[house.vlm[0]].stop(grace=0)
    assert len(await asyncio.gather(*calls)) == 8
    house.vlm[1].delay = 0.0
    await asyncio.gather(*(_predict(house, png) for _ in range(8)))


async def test_a_replica_that_comes_back_is_found_again(build_house, start_server, fake_vlm, png: bytes) -> None:
    house = await build_house()
    port = house.servers[house.vlm[0]].port
    await house.servers[house.vlm[0]].stop(grace=0)
    call = asyncio.create_task(_predict(house, png))
    await asyncio.sleep(0.1)
    successor = fake_vlm()
    await start_server(successor, port=port)
    await call
    assert successor.calls["Answer"] == 1


async def test_without_any_replica_the_call_ends_cleanly(build_house, png: bytes) -> None:
    house = await build_house(balancing=BalancingConfig(wait_seconds=0.2))
    await house.servers[house.vlm[0]].stop(grace=0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.contact.Predict(Request(photo=png, person=WHOLE))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_meshes_stay_with_their_replica(build_house, png: bytes) -> None:
    import numpy as np

    from interactvlm.client.meshes import upload_messages
    from interactvlm.geometry.mesh import PointCloud

    house = await build_house(mvloc=3)
    held = await house.contact.UploadMesh(iter(upload_messages(PointCloud(np.eye(3, dtype=np.float32)))))
    request = Request(
        photo=png,
        person=WHOLE,
        objects=[types_pb2.ObjectQuery(name="cup", mesh_sha256=held.sha256)],
        tasks=[types_pb2.TASK_OBJECT],
    )
    for _ in range(6):
        await house.contact.Predict(request)
    assert sorted(stage.calls["PutMesh"] for stage in house.mvloc) == [0, 0, 1]
    assert sorted(stage.calls["LocateObject"] for stage in house.mvloc) == [0, 0, 7]  # the first one was missing it


async def _predict(house: Any, photo: bytes) -> contact_service_pb2.PredictResponse:
    return await house.contact.Predict(Request(photo=photo, person=WHOLE))


class Pool:
    """A pool over servers of this test."""

    def __init__(self, pool: ReplicaPool, caller: StageCaller) -> None:
        self.pool = pool
        self.caller = caller


@pytest.fixture
async def make_pool(start_server, fake_vlm):
    pools = []

    async def make(count: int, **constants: Any) -> Pool:
        stages = [fake_vlm() for _ in range(count)]
        ports = [(await start_server(stage)).port for stage in stages]
        return await over([f"127.0.0.1:{port}" for port in ports], **constants)

    async def over(targets: list[str], **constants: Any) -> Pool:
        config = BalancingConfig(**{"probe_seconds": 0.2, "hedge_ratio": 0.0, **constants})
        pool = ReplicaPool(
            name="vlm",
            service="interactvlm.v1.VlmService",
            discovery=Discovery(targets, field="vlm.targets"),
            connect=lambda address: grpc.aio.insecure_channel(address.target),
            config=config,
        )
        pools.append(pool)
        await pool.start()
        await until(lambda: all(replica.serving for replica in pool.replicas))
        return Pool(pool, StageCaller(pool, config))

    make.over = over
    yield make
    for pool in pools:
        await pool.close()


def failing(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="on purpose")


async def test_only_unavailable_is_tried_again(make_pool) -> None:
    made = await make_pool(2)
    tried: list[str] = []

    async def attempt(replica: Replica) -> str:
        tried.append(replica.address)
        if len(tried) < 3:
            raise failing(codes[0])
        return "answer"

    codes = [grpc.StatusCode.UNAVAILABLE]
    assert await made.caller.call(attempt, method="M", context=CallContext()) == "answer"
    assert len(set(tried[:2])) == 2
    for code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT):
        codes[0] = code
        tried.clear()
        with pytest.raises(ServiceError):
            await made.caller.call(attempt, method="M", context=CallContext())
        assert len(tried) == 1


async def test_retries_are_bounded_by_number_and_budget(make_pool) -> None:
    made = await make_pool(2, max_attempts=3, retry_burst=5, retry_ratio=0.0)
    tried = 0

    async def attempt(replica: Replica) -> None:
        nonlocal tried
        tried += 1
        raise failing(grpc.StatusCode.UNAVAILABLE)

    for expected in (3, 6, 8, 9, 10):  # two retries, two, one, none, none
        with pytest.raises(Unavailable):
            await made.caller.call(attempt, method="M", context=CallContext())
        assert tried == expected


async def test_a_failing_replica_is_ejected_and_comes_back(make_pool) -> None:
    made = await make_pool(3, ejection_failures=3, ejection_seconds=0.5)
    bad = made.pool.replicas[0]
    tried: list[Replica] = []

    async def attempt(replica: Replica) -> str:
        tried.append(replica)
        if replica is bad:
            raise failing(grpc.StatusCode.INTERNAL)
        return "answer"

    async def calls(count: int) -> None:
        for _ in range(count):
            await asyncio.gather(made.caller.call(attempt, method="M", context=CallContext()), return_exceptions=True)

    while not bad.ejected:
        await calls(1)
    tried.clear()
    await calls(20)
    assert bad not in tried
    await until(lambda: not bad.ejected)
    while bad not in tried:
        await calls(1)


async def test_never_more_than_half_are_ejected(make_pool) -> None:
    made = await make_pool(3, ejection_failures=1, ejection_seconds=60.0)

    async def attempt(replica: Replica) -> None:
        raise failing(grpc.StatusCode.INTERNAL)

    for _ in range(12):
        with pytest.raises(ServiceError):
            await made.caller.call(attempt, method="M", context=CallContext())
    assert sum(replica.ejected for replica in made.pool.replicas) == 1


async def test_a_slow_call_is_hedged_within_its_budget(make_pool) -> None:
    made = await make_pool(2, hedge_ratio=0.05, ejection_failures=1000)
    slow = made.pool.replicas[0]
    attempts, cancelled = 0, 0
    stuck = False

    async def attempt(replica: Replica) -> str:
        nonlocal attempts, cancelled
        attempts += 1
        if stuck and replica is slow:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled += 1
                raise
        await asyncio.sleep(0.001)
        return replica.address

    for _ in range(40):
        await made.caller.call(attempt, method="M", context=CallContext())
    stuck = True
    attempts = 0
    for _ in range(10):
        assert await made.caller.call(attempt, method="M", context=CallContext()) != slow.address
    assert attempts == 10 + cancelled
    assert cancelled >= 1
    made.caller._hedges.spend = lambda: False  # the budget is used up: slow calls stay slow
    outcomes = []
    for _ in range(16):
        context = CallContext.within(0.1)
        call = made.caller.call(_timed(attempt, context), method="M", context=context)
        outcomes += await asyncio.gather(call, return_exceptions=True)
    assert any(isinstance(outcome, DeadlineExceededError) for outcome in outcomes)


async def test_a_replica_that_is_outrun_time_after_time_is_ejected(make_pool) -> None:
    made = await make_pool(2, hedge_ratio=0.05, ejection_failures=3, ejection_seconds=60.0)
    slow = made.pool.replicas[0]
    stuck = False

    async def attempt(replica: Replica) -> None:
        await asyncio.sleep(30 if stuck and replica is slow else 0.001)

    for _ in range(40):
        await made.caller.call(attempt, method="M", context=CallContext())
    stuck = True
    while not slow.ejected:
        await made.caller.call(attempt, method="M", context=CallContext())
    assert not slow.outstanding


def _timed(attempt: Any, context: CallContext) -> Any:
    async def within(replica: Replica) -> Any:
        try:
            return await asyncio.wait_for(attempt(replica), context.remaining())
        except TimeoutError:
            raise failing(grpc.StatusCode.DEADLINE_EXCEEDED) from None

    return within


class FreezableHealth(health_pb2_grpc.HealthServicer):
    """Serves, until it is frozen."""

    def __init__(self) -> None:
        self.thawed = asyncio.Event()
        self.thawed.set()

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        await self.thawed.wait()
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    async def Watch(self, request: Any, context: Any) -> Any:
        yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
        await asyncio.Event().wait()


async def test_calls_on_a_frozen_replica_move_to_another(make_pool) -> None:
    servers, healths = [], []
    for _ in range(2):
        server = grpc.aio.server()
        health = FreezableHealth()
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        servers.append((server, server.add_insecure_port("127.0.0.1:0")))
        healths.append(health)
        await server.start()
    made = await make_pool.over([f"127.0.0.1:{port}" for _, port in servers])
    frozen = next(replica for replica in made.pool.replicas if replica.address.endswith(str(servers[0][1])))

    async def attempt(replica: Replica) -> str:
        if replica is frozen and not healths[0].thawed.is_set():
            await asyncio.sleep(60)
        return replica.address

    healths[0].thawed.clear()
    calls = [made.caller.call(attempt, method="M", context=CallContext.within(30)) for _ in range(8)]
    assert frozen.address not in await asyncio.gather(*calls)
    assert not frozen.serving
    healths[0].thawed.set()
    await until(lambda: frozen.serving)
    running = asyncio.create_task(frozen.run(lambda _: asyncio.sleep(60)))
    await until(lambda: frozen.outstanding)
    frozen.give_up_calls()
    with pytest.raises(ReplicaLostError):
        await running
    for server, _ in servers:
        await server.stop(0)


async def test_waiting_for_a_replica_ends_with_the_deadline(make_pool) -> None:
    made = await make_pool(1)
    made.pool.replicas[0]._tell(reported=False)
    with pytest.raises(DeadlineExceededError):
        await made.pool.pick(context=CallContext.within(0.05))


async def test_no_replica_is_stage_unavailable(make_pool) -> None:
    made = await make_pool(1, wait_seconds=0.05)
    made.pool.replicas[0]._tell(reported=False)
    with pytest.raises(StageUnavailable, match="no replica of vlm"):
        await made.pool.pick(context=CallContext())


async def test_a_rolling_restart_of_a_stage_costs_no_call(build_house, start_server, fake_vlm, png: bytes) -> None:
    house = await build_house(vlm=2)
    ended = asyncio.Event()
    answered = 0

    async def client() -> None:
        nonlocal answered
        while not ended.is_set():
            await _predict(house, png)
            answered += 1

    clients = [asyncio.create_task(client()) for _ in range(6)]
    for stage in house.vlm:
        stage.delay = 0.01
        port = house.servers[stage].port
        await house.servers[stage].stop(grace=5)
        successor = fake_vlm()
        await start_server(successor, port=port)
        await until(lambda successor=successor: successor.calls["Answer"] >= 10)
    ended.set()
    await asyncio.gather(*clients)
    assert answered >= 20
