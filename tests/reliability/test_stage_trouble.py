"""A stage's replicas die, freeze or slow down under load: calls end in time, and all is well again by itself.

The orchestrators are never restarted: what they believe about a stage has to heal.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.reliability.load import Load, request
from tests.reliability.processes import House, eventually
from tests.reliability.rooms import Open, Size

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEADLINE = 3.0
SLOW, VERY_SLOW = 0.5, 4.0


@pytest_asyncio.fixture(loop_scope="session")
async def whole(house: House) -> AsyncIterator[House]:
    """The house, checked afterwards: the same orchestrators run and see every replica."""
    born = [process.running.pid for process in house.orchestrators]
    yield house
    assert [process.running.pid for process in house.orchestrators] == born
    assert all(process.running.poll() is None for process in house.orchestrators)


@pytest.mark.parametrize("kind", ["vlm", "mvloc"])
async def test_killed(whole: House, open_contact: Open, photo: bytes, size: Size, kind: str) -> None:
    contact = open_contact(whole.orchestrators[0].address)
    replicas = whole.stage(kind)
    async with Load(lambda: contact.Predict(request(photo), timeout=DEADLINE), DEADLINE) as load:
        for _ in range(size.rounds):
            await load.until("OK", size.calls)
            replicas[0].kill()
            await load.until("OK", size.calls)  # the other one carries on
            replicas[1].kill()
            await load.until_failing(4)
            for replica in replicas:
                replica.start()
            for replica in replicas:
                await replica.until_serving()
            await whole.until_all_are_seen(kind)
            await load.until("OK", size.calls)
            assert all(replica.admin("counts")["expired_started"] == 0 for replica in replicas)


@pytest.mark.parametrize("kind", ["vlm", "mvloc"])
async def test_frozen(whole: House, open_contact: Open, photo: bytes, size: Size, kind: str) -> None:
    contact = open_contact(whole.orchestrators[0].address)
    replicas = whole.stage(kind)
    try:
        async with Load(lambda: contact.Predict(request(photo), timeout=DEADLINE), DEADLINE) as load:
            for _ in range(size.rounds):
                await load.until("OK", size.calls)
                replicas[0].signal(signal.SIGSTOP)
                await load.until("OK", size.calls)
                replicas[1].signal(signal.SIGSTOP)
                await load.until_failing(4)
                for replica in replicas:
                    replica.signal(signal.SIGCONT)
                await whole.until_all_are_seen(kind)
                await load.until("OK", size.calls)
    finally:
        for replica in replicas:
            replica.signal(signal.SIGCONT)


@pytest.mark.parametrize("kind", ["vlm", "mvloc"])
async def test_slow(whole: House, open_contact: Open, photo: bytes, size: Size, kind: str) -> None:
    contact = open_contact(whole.orchestrators[0].address)
    replicas = whole.stage(kind)
    usual = 0.01
    try:
        async with Load(lambda: contact.Predict(request(photo), timeout=DEADLINE), DEADLINE) as load:
            for _ in range(size.rounds):
                await load.until("OK", size.calls)
                await asyncio.to_thread(replicas[0].admin, "slow", seconds=SLOW)
                await load.until("OK", size.calls)
                for replica in replicas:
                    await asyncio.to_thread(replica.admin, "slow", seconds=VERY_SLOW)
                await load.until_failing(4)
                for replica in replicas:
                    await asyncio.to_thread(replica.admin, "slow", seconds=usual)
                await load.until("OK", size.calls)
        for replica in replicas:
            assert (await asyncio.to_thread(replica.admin, "counts"))["expired_started"] == 0
    finally:
        for replica in replicas:
            await asyncio.to_thread(replica.admin, "slow", seconds=usual)


async def test_nothing_is_left_behind(whole: House, open_contact: Open, photo: bytes) -> None:
    """After all of the above, idle orchestrators have no call outstanding on any replica."""
    for orchestrator in whole.orchestrators:
        await open_contact(orchestrator.address).Predict(request(photo), timeout=30)

        def idle(orchestrator=orchestrator) -> bool:
            stages = orchestrator.replicas().values()
            return all(replica["outstanding"] == 0 for replicas in stages for replica in replicas)

        await eventually(idle, f"{orchestrator.name} has no outstanding calls")
