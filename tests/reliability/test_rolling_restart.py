"""Every service is replaced under load, one process after the other, as an operator updates them: no call fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from interactvlm.client import AsyncClient, Endpoint, PhotoRequest
from interactvlm.types import WholePhoto
from tests.reliability.load import Load
from tests.reliability.processes import House, eventually
from tests.reliability.rooms import Size

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEADLINE = 30.0


async def test_no_call_fails(house: House, photo: bytes, size: Size) -> None:
    both = ",".join(orchestrator.address for orchestrator in house.orchestrators)
    ended = asyncio.Event()

    async def items() -> AsyncIterator[tuple[str, PhotoRequest]]:
        number = 0
        while not ended.is_set():
            yield str(number), PhotoRequest(photo, person=WholePhoto())
            number += 1
            await asyncio.sleep(0.02)

    async with AsyncClient(Endpoint(f"ipv4:{both}")) as client:

        async def stream() -> list[str]:
            return [(outcome.item_id, outcome.unwrap())[0] async for outcome in client.predict_many(items())]

        streaming = asyncio.create_task(stream())
        try:
            async with Load(
                lambda: client.predict(photo, person=WholePhoto(), timeout=DEADLINE), DEADLINE, workers=4
            ) as load:
                await load.until("OK", size.calls)
                for _ in range(size.rounds):
                    for kind in ("vlm", "mvloc"):
                        for replica in house.stage(kind)[: size.replaced]:
                            await replica.restart_gracefully()
                            await house.until_all_are_seen(kind)
                            await load.until("OK", size.calls)
                    for orchestrator in house.orchestrators:
                        await orchestrator.restart_gracefully()
                        # As with minReadySeconds: the next one goes once this one has its share of the calls again.
                        await eventually(
                            lambda orchestrator=orchestrator: orchestrator.answered() >= size.calls,
                            "the successor answers",
                        )
            failed = [one for one in load.ended if one.code != "OK"]
            assert not failed, (load.codes, failed[0])
        finally:
            ended.set()
        answered = await asyncio.wait_for(streaming, DEADLINE)
    assert sorted(map(int, answered)) == list(range(len(answered)))
    assert len(answered) >= size.calls
