from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from interactvlm.errors import DeadlineExceededError, InputError
from interactvlm.stages import CallContext
from services.orchestrator.replay import AnswerStore, Replay
from services.orchestrator.replay_file import FileAnswers
from services.orchestrator.replay_memory import MemoryAnswers
from services.runtime.errors import RequestIdReused

Make = Callable[..., AnswerStore]


@pytest.fixture(params=["memory", "file"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return MemoryAnswers if request.param == "memory" else partial(FileAnswers, tmp_path / "answers")


@pytest.fixture
async def store(make_store: Make):
    made = make_store(ttl_seconds=60.0, max_bytes=10**6)
    yield made
    await made.close()


class Work:
    """Answers with its number, after `gate`."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, context: CallContext) -> bytes:
        self.begun += 1
        number = self.begun
        try:
            await asyncio.wait_for(self.gate.wait(), context.remaining())
        except TimeoutError:
            raise DeadlineExceededError("late") from None
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return str(number).encode()


def ask(replay: Replay, work: Work, seconds: float | None = None, **changes):
    named = {"owner": "alice", "request_id": "one", "fingerprint": b"f", **changes}
    return replay.once(work, context=CallContext.within(seconds), **named)


async def test_one_answer_for_one_id(store: AnswerStore) -> None:
    replay, work = Replay(store), Work()
    assert await ask(replay, work) == (b"1", False)
    assert await ask(replay, work) == (b"1", True)
    assert await ask(replay, work, owner="bob") == (b"2", False)
    assert await ask(replay, work, request_id="") == (b"3", False)
    assert await ask(replay, work, request_id="") == (b"4", False)
    with pytest.raises(RequestIdReused):
        await ask(replay, work, fingerprint=b"g")


async def test_repeats_wait_for_the_one_in_work(store: AnswerStore) -> None:
    replay, work = Replay(store), Work()
    work.gate.clear()
    asking = [asyncio.create_task(ask(replay, work)) for _ in range(5)]
    await asyncio.sleep(0.05)
    with pytest.raises(RequestIdReused):
        await ask(replay, work, fingerprint=b"g")
    work.gate.set()
    assert sorted(await asyncio.gather(*asking)) == [(b"1", False)] + [(b"1", True)] * 4


async def test_the_first_one_may_leave(store: AnswerStore) -> None:
    replay, work = Replay(store), Work()
    work.gate.clear()
    first, second = (asyncio.create_task(ask(replay, work)) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.sleep(0.01)
    work.gate.set()
    assert await second in [(b"1", True), (b"1", False)]
    assert work.begun == 1


async def test_when_all_leave_the_work_ends(store: AnswerStore) -> None:
    replay, work = Replay(store), Work()
    work.gate.clear()
    asking = [asyncio.create_task(ask(replay, work)) for _ in range(2)]
    await asyncio.sleep(0.05)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert work.ended == ["cancelled"]
    work.gate.set()
    assert await ask(replay, work) == (b"2", False)


async def test_who_has_more_time_begins_anew(store: AnswerStore) -> None:
    replay, work = Replay(store), Work()
    work.gate.clear()
    short = asyncio.create_task(ask(replay, work, 0.1))
    await asyncio.sleep(0.02)
    long = asyncio.create_task(ask(replay, work, 30.0))
    with pytest.raises(DeadlineExceededError):
        await short
    await asyncio.sleep(0.05)
    work.gate.set()
    assert await long == (b"2", False)


async def test_failures_are_not_kept(store: AnswerStore) -> None:
    replay = Replay(store)

    async def broken(context: CallContext) -> bytes:
        raise InputError("photo", "is odd")

    with pytest.raises(InputError):
        await ask(replay, broken)
    assert await ask(replay, Work()) == (b"1", False)


async def test_answers_are_forgotten_in_time_and_by_size(make_store: Make) -> None:
    expired = make_store(ttl_seconds=-1.0, max_bytes=100)
    await expired.put(b"k", b"f", b"answer")
    assert await expired.get(b"k", b"f") is None
    await expired.close()
    small = make_store(ttl_seconds=60.0, max_bytes=32_000)
    for i in range(300):
        await small.put(str(i).encode(), b"f", b"x" * 872)  # 1000 bytes with what is kept beside it
    kept = [i for i in range(300) if await small.get(str(i).encode(), b"f")]
    assert kept[-1] == 299
    assert kept == list(range(kept[0], 300))
    assert 30 <= len(kept) <= 34
    assert await small.put(b"large", b"f", b"x" * 3_000) == b"x" * 3_000
    assert await small.get(b"large", b"f") is None
    await small.close()


async def test_processes_share_a_file(tmp_path: Path) -> None:
    one, two = (FileAnswers(tmp_path / "answers", ttl_seconds=60.0, max_bytes=10**6) for _ in range(2))
    assert await one.put(b"k", b"f", b"first") == b"first"
    assert await two.put(b"k", b"f", b"second") == b"first"
    assert await two.get(b"k", b"f") == b"first"
    await one.close()
    await two.close()
