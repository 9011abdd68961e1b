from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import CancelledError, DeadlineExceededError, InputError, PhotoError
from interactvlm.stages import CallContext
from services.runtime.batching import Batcher, BatchLimits, DeviceWorker
from services.runtime.calls import Call
from services.runtime.errors import Draining, QueueFull


class Engine:
    """Doubles numbers; "poison" makes any batch raise; waits at a gate once it is closed."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def __call__(self, items: list[Any]) -> Sequence[Any]:
        self.batches.append(list(items))
        self.inside.set()
        assert self.gate.wait(10)
        if "short" in items:
            return []
        if "poison" in items:
            raise ValueError("this batch holds poison")
        return [PhotoError("photo", "is bad") if item == "bad" else item * 2 for item in items]


@pytest.fixture
def worker() -> Any:
    made = DeviceWorker("test")
    yield made
    made.close()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    made = Engine()
    yield made
    made.gate.set()


def make_batcher(
    engine: Callable[[list[Any]], Sequence[Any]], worker: DeviceWorker, **limits: Any
) -> Batcher[Any, Any]:
    return Batcher(engine, cost=lambda item: 1.0, limits=BatchLimits(**limits), worker=worker, name="test")


def call(seconds: float | None = 10.0) -> Call:
    return Call(context=CallContext.within(seconds))


async def entered(engine: Engine) -> None:
    assert await asyncio.to_thread(engine.inside.wait, 10)


async def test_waiting_items_run_together(engine, worker):
    batcher = make_batcher(engine, worker)
    engine.gate.clear()
    first = asyncio.create_task(batcher.submit(0, call()))
    await entered(engine)
    others = [asyncio.create_task(batcher.submit(number, call())) for number in range(1, 6)]
    await asyncio.sleep(0)
    assert batcher.pending == 6
    engine.gate.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8, 10]
    assert [len(batch) for batch in engine.batches] == [1, 5]
    assert batcher.pending == 0


async def test_cancelled_member_leaves_siblings_alone_waiting_and_running(engine, worker):
    batcher = make_batcher(engine, worker)
    engine.gate.clear()
    running = [asyncio.create_task(batcher.submit(number, call())) for number in range(3)]
    await entered(engine)
    waiting = [asyncio.create_task(batcher.submit(number, call())) for number in range(3, 6)]
    await asyncio.sleep(0.01)
    gone = call()
    waiting_gone = asyncio.create_task(batcher.submit("gone", gone))
    await asyncio.sleep(0)
    running[1].cancel()
    waiting[1].cancel()
    waiting_gone.cancel()
    await asyncio.sleep(0)
    engine.gate.set()
    results = await asyncio.gather(*running, *waiting, return_exceptions=True)
    assert [r for r in results if not isinstance(r, BaseException)] == [0, 4, 6, 10]
    assert gone.context.should_stop()
    assert all(item not in ("gone", 4) for batch in engine.batches for item in batch)
    await asyncio.wait_for(batcher.drain(), 10)


async def test_poison_is_found_and_its_neighbours_answered(engine, worker):
    batcher = make_batcher(engine, worker)
    engine.gate.clear()
    first = asyncio.create_task(batcher.submit(0, call()))
    await entered(engine)
    items = [1, 2, "poison", 4, "bad", 6, 7]
    others = [asyncio.create_task(batcher.submit(item, call())) for item in items]
    await asyncio.sleep(0.01)
    engine.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert results[:3] == [0, 2, 4]
    assert isinstance(results[3], ValueError)
    assert isinstance(results[5], PhotoError)
    assert [results[4], results[6], results[7]] == [8, 12, 14]


async def test_wrong_number_of_results_fails_only_where_it_stays_wrong(engine, worker):
    batcher = make_batcher(engine, worker)
    engine.gate.clear()
    first = asyncio.create_task(batcher.submit(0, call()))
    await entered(engine)
    others = [asyncio.create_task(batcher.submit(item, call())) for item in (1, "short", 3)]
    await asyncio.sleep(0.01)
    engine.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [results[0], results[1], results[3]] == [0, 2, 6]
    assert "0 results for 1 items" in str(results[2])


async def test_deadline_passes_while_the_device_is_busy(engine, worker):
    batcher = make_batcher(engine, worker)
    engine.gate.clear()
    first = asyncio.create_task(batcher.submit(1, call()))
    await entered(engine)
    with pytest.raises(DeadlineExceededError):
        await batcher.submit(2, call(0.05))
    engine.gate.set()
    assert await first == 2
    await asyncio.wait_for(batcher.drain(), 10)
    assert engine.batches == [[1]]


async def test_deadline_passes_while_running(engine, worker):
    batcher = make_batcher(engine, worker)
    engine.gate.clear()
    hurried = call(0.05)
    with pytest.raises(DeadlineExceededError):
        await batcher.submit(2, hurried)
    assert hurried.context.should_stop()
    assert batcher.pending == 1
    engine.gate.set()
    await asyncio.wait_for(batcher.drain(), 10)


async def test_withdrawn_or_late_before_submission(engine, worker):
    batcher = make_batcher(engine, worker)
    withdrawn = call()
    withdrawn.context.cancel()
    with pytest.raises(CancelledError):
        await batcher.submit(1, withdrawn)
    with pytest.raises(DeadlineExceededError):
        await batcher.submit(1, call(-1.0))
    assert engine.batches == []


async def test_full_queue_refuses_at_once(engine, worker):
    batcher = make_batcher(engine, worker, max_pending_items=2)
    engine.gate.clear()
    tasks = [asyncio.create_task(batcher.submit(0, call()))]
    await entered(engine)
    tasks += [asyncio.create_task(batcher.submit(number, call())) for number in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await batcher.submit(3, call())
    engine.gate.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4]


async def test_drain_answers_those_inside_and_refuses_others(engine, worker):
    batcher = make_batcher(engine, worker)
    engine.gate.clear()
    inside = [asyncio.create_task(batcher.submit(number, call())) for number in range(3)]
    await entered(engine)
    draining = asyncio.create_task(batcher.drain())
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        await batcher.submit(9, call())
    assert not draining.done()
    engine.gate.set()
    assert await asyncio.gather(*inside) == [0, 2, 4]
    await asyncio.wait_for(draining, 10)


async def test_cost_must_be_positive(engine, worker):
    batcher = Batcher(engine, cost=lambda item: item, limits=BatchLimits(), worker=worker, name="test")
    for cost in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="positive"):
            await batcher.submit(cost, call())


async def test_two_batchers_share_a_device_by_deadline(engine, worker):
    other = Engine()
    one, two = make_batcher(engine, worker), make_batcher(other, worker)
    order: list[str] = []
    engine.gate.clear()
    first = asyncio.create_task(one.submit(0, call()))
    await entered(engine)

    async def note(name: str, batcher: Batcher[Any, Any], seconds: float) -> None:
        await batcher.submit(1, call(seconds))
        order.append(name)

    tasks = [asyncio.create_task(note("late", one, 9.0)), asyncio.create_task(note("soon", two, 5.0))]
    await asyncio.sleep(0.01)
    engine.gate.set()
    await asyncio.gather(first, *tasks)
    assert order == ["soon", "late"]


async def test_worker_runs_single_pieces_and_reports_their_errors(worker):
    assert await worker.run(lambda: threading.current_thread().name) == "device-test"
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    gone = CallContext()
    gone.cancel()
    with pytest.raises(CancelledError):
        await worker.run(lambda: 1, gone)
    assert await worker.run(lambda: 7, CallContext.within(10)) == 7


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from(["fine", "fine", "fine", "poison", "bad", "leaves", "late"]), min_size=1, max_size=24),
    st.integers(1, 9),
)
def test_each_caller_gets_its_own_outcome(kinds, max_items):
    async def scenario() -> None:
        worker = DeviceWorker("property")
        batches: list[list[Any]] = []

        def run(items: list[Any]) -> list[Any]:
            batches.append(items)
            if any(kind == "poison" for _, kind in items):
                raise ValueError("poison")
            return [PhotoError("photo", "bad") if kind == "bad" else number for number, kind in items]

        batcher = make_batcher(run, worker, max_items=max_items)
        tasks = []
        for number, kind in enumerate(kinds):
            seconds = -1.0 if kind == "late" else 30.0
            tasks.append(asyncio.create_task(batcher.submit((number, kind), call(seconds))))
        await asyncio.sleep(0)
        for task, kind in zip(tasks, kinds, strict=True):
            if kind == "leaves":
                task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        await asyncio.wait_for(batcher.drain(), 10)
        worker.close()
        expected = {"poison": ValueError, "bad": PhotoError, "leaves": asyncio.CancelledError}
        for number, (kind, result) in enumerate(zip(kinds, results, strict=True)):
            if kind == "fine":
                assert result == number
            elif kind == "late":
                assert isinstance(result, DeadlineExceededError)
            else:
                assert isinstance(result, expected[kind])
        assert all(len(batch) <= max_items for batch in batches)
        assert not any(kind == "late" for batch in batches for _, kind in batch)

    asyncio.run(scenario())
