from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.batch_queue import BatchLimits, BatchQueue, Entry, Selection
from services.runtime.calls import Priority
from services.runtime.errors import DeadlineTooShort, QueueFull
from services.runtime.latency import LatencyModel


@dataclass
class Arrival:
    """An item of a random load."""

    gap: float
    cost: float
    patience: float
    priority: Priority
    leaves_after: float


arrivals = st.lists(
    st.builds(
        Arrival,
        gap=st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.01, 0.1, 1.0]),
        cost=st.sampled_from([0.5, 1.0, 1.0, 2.0, 7.0, 50.0]),
        patience=st.sampled_from([0.005, 0.05, 0.2, 1.0, math.inf]),
        priority=st.sampled_from(Priority),
        leaves_after=st.sampled_from([0.0, 0.01, math.inf, math.inf, math.inf]),
    ),
    max_size=60,
)
limits_strategy = st.builds(
    BatchLimits,
    max_items=st.integers(1, 8),
    max_cost=st.sampled_from([1.0, 8.0, 100.0]),
    max_pending_items=st.integers(1, 40),
    max_pending_seconds=st.sampled_from([0.05, 30.0]),
    starvation_seconds=st.sampled_from([0.05, 10.0]),
)


@dataclass
class Simulation:
    """A queue, a device of `slope` and `offset`, and a clock that only this advances."""

    limits: BatchLimits
    slope: float
    offset: float
    now: float = 0.0
    started: list[tuple[float, list[Entry]]] = field(default_factory=list)
    ended: list[tuple[Entry, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.latency = LatencyModel()
        self.queue = BatchQueue(self.limits, self.latency)
        self.busy_until = 0.0

    def offer(self, arrival: Arrival) -> Entry | None:
        leaves = self.now + arrival.leaves_after
        entry = Entry(
            item=arrival,
            cost=arrival.cost,
            deadline=self.now + arrival.patience,
            arrived=self.now,
            priority=arrival.priority,
            cancelled=lambda: self.now >= leaves,
        )
        try:
            self.queue.add(entry)
        except (QueueFull, DeadlineTooShort):
            return None
        return entry

    def advance(self, until: float) -> None:
        """Run the device until `until` (or until nothing is left, when that is infinite)."""
        while len(self.queue) and self.busy_until <= until:
            self.now = max(self.now, self.busy_until)
            selection = self.queue.take(self.now)
            self._note(selection)
            if selection.batch:
                cost = sum(entry.cost for entry in selection.batch)
                seconds = self.slope * cost + self.offset
                self.busy_until = self.now + seconds
                self.latency.observe(cost, seconds, self.busy_until)
        if until != math.inf:
            self.now = max(self.now, until)

    def _note(self, selection: Selection) -> None:
        for kind in ("expired", "cancelled", "hopeless"):
            self.ended.extend((entry, kind) for entry in getattr(selection, kind))
        if selection.batch:
            self.started.append((self.now, selection.batch))
            self.ended.extend((entry, "started") for entry in selection.batch)


@settings(deadline=None, max_examples=150)
@given(arrivals, limits_strategy, st.sampled_from([0.0, 0.001, 0.02]), st.sampled_from([0.0, 0.01, 0.1]))
def test_promises_hold_under_any_load(load, limits, slope, offset):
    simulation = Simulation(limits, slope, offset)
    accepted: list[Entry] = []
    for arrival in load:
        simulation.advance(simulation.now + arrival.gap)
        if (entry := simulation.offer(arrival)) is not None:
            accepted.append(entry)
        assert len(simulation.queue) <= limits.max_pending_items
    simulation.advance(math.inf)

    # Every item leaves exactly once, and the queue forgets it.
    assert sorted(id(entry) for entry, _ in simulation.ended) == sorted(map(id, accepted))
    assert len(simulation.queue) == 0
    assert simulation.queue.cost == 0
    assert simulation.queue.urgency() is None
    for moment, batch in simulation.started:
        # Bounds: count and cost; only a single dearer item may exceed the cost.
        assert 1 <= len(batch) <= limits.max_items
        assert len(batch) == 1 or sum(entry.cost for entry in batch) <= limits.max_cost
        # Nothing expired or cancelled ever starts.
        assert all(entry.deadline > moment for entry in batch)
        assert not any(entry.item.leaves_after <= moment - entry.arrived for entry in batch)


@settings(deadline=None, max_examples=100)
@given(arrivals, limits_strategy)
def test_known_device_starts_nothing_it_cannot_finish(load, limits):
    simulation = Simulation(limits, 0.01, 0.02)
    for cost in (1.0, 2.0, 4.0):
        simulation.latency.observe(cost, 0.01 * cost + 0.02, 0.0)
    for arrival in load:
        simulation.advance(simulation.now + min(arrival.gap, 0.1))
        simulation.offer(arrival)
    simulation.advance(math.inf)
    last_confirmed = 0.0
    for moment, batch in simulation.started:
        cost = sum(entry.cost for entry in batch)
        ends = moment + 0.01 * cost + 0.02
        if moment - last_confirmed <= 2.0:
            assert ends <= min(entry.deadline for entry in batch) + 1e-6
        last_confirmed = ends


@settings(deadline=None, max_examples=100)
@given(arrivals, limits_strategy)
def test_idle_device_starts_at_once(load, limits):
    simulation = Simulation(limits, 0.001, 0.01)
    for arrival in load:
        simulation.advance(simulation.now + arrival.gap)
        idle = simulation.busy_until <= simulation.now and not len(simulation.queue)
        entry = simulation.offer(arrival)
        if entry is None or not idle:
            continue
        before = len(simulation.started)
        simulation.advance(simulation.now)
        ran = len(simulation.started) > before and entry in simulation.started[-1][1]
        assert ran or (entry, "cancelled") in simulation.ended


def make_queue(**limits: float) -> BatchQueue:
    latency = LatencyModel(trust_seconds=math.inf)
    for cost in (1.0, 2.0, 4.0, 8.0):
        latency.observe(cost, 0.01 * cost + 0.02, 0.0)  # 10 ms each and 20 ms per batch
    return BatchQueue(BatchLimits(**{"max_items": 8, "max_cost": 8.0, **limits}), latency)


def names(entries: list[Entry]) -> list[str]:
    return [entry.item for entry in entries]


def test_earliest_deadline_goes_first_and_bounds_its_batch():
    queue = make_queue()
    queue.add(Entry("late", 1.0, deadline=9.0))
    queue.add(Entry("soon", 1.0, deadline=0.045))
    queue.add(Entry("later", 1.0, deadline=10.0))
    # 2 items take 40 ms, 3 take 50 ms: "soon" allows two.
    assert names(queue.take(0.0).batch) == ["soon", "late"]
    assert names(queue.take(0.0).batch) == ["later"]


def test_full_house_leaves_a_hurried_item_behind_when_that_finishes_more():
    queue = make_queue()
    queue.add(Entry("hurried", 1.0, deadline=0.035))
    for number in range(9):
        queue.add(Entry(f"calm{number}", 1.0, deadline=1.0))
    first = queue.take(0.0)
    assert "hurried" not in names(first.batch)
    assert len(first.batch) == 8
    second = queue.take(0.1)
    assert names(second.expired) == ["hurried"]


def test_half_empty_house_serves_the_hurried_item():
    queue = make_queue()
    queue.add(Entry("hurried", 1.0, deadline=0.035))
    for number in range(5):
        queue.add(Entry(f"calm{number}", 1.0, deadline=1.0))
    assert names(queue.take(0.0).batch) == ["hurried"]
    assert len(queue.take(0.03).batch) == 5


def test_batch_priority_fills_what_is_left_and_does_not_starve():
    queue = make_queue(max_items=2, starvation_seconds=5.0)
    queue.add(Entry("b0", 1.0, priority=Priority.BATCH))
    for number in range(3):
        queue.add(Entry(f"i{number}", 1.0))
    assert names(queue.take(0.0).batch) == ["i0", "i1"]
    assert names(queue.take(0.0).batch) == ["i2", "b0"]
    queue.add(Entry("old", 1.0, arrived=0.0, priority=Priority.BATCH))
    for number in range(3):
        queue.add(Entry(f"i{number}", 1.0, arrived=6.0))
    assert names(queue.take(6.0).batch) == ["old", "i0"]


def test_dear_item_runs_alone_and_cheap_ones_are_not_held_up():
    queue = make_queue(max_items=4)
    queue.add(Entry("a", 1.0))
    queue.add(Entry("dear", 20.0))
    queue.add(Entry("b", 1.0))
    assert names(queue.take(0.0).batch) == ["a", "b"]
    assert names(queue.take(0.0).batch) == ["dear"]


def test_full_queue_says_when_to_return():
    queue = make_queue(max_pending_items=3)
    for _ in range(3):
        queue.add(Entry("x", 8.0))
    with pytest.raises(QueueFull, match="limit 3") as caught:
        queue.add(Entry("y", 1.0))
    assert caught.value.retry_after == pytest.approx(0.15)


def test_too_much_work_is_refused_by_time():
    queue = make_queue(max_pending_seconds=0.25, max_pending_items=1000)
    for _ in range(3):
        queue.add(Entry("x", 8.0))
    with pytest.raises(QueueFull, match=r"0\.3 s of work"):
        queue.add(Entry("y", 1.0))


def test_deadline_too_short_alone_and_behind_others():
    queue = make_queue()
    with pytest.raises(DeadlineTooShort):
        queue.add(Entry("x", 1.0, deadline=0.02))
    for _ in range(16):
        queue.add(Entry("x", 1.0, deadline=0.5))
    with pytest.raises(QueueFull, match="due first"):
        queue.add(Entry("y", 1.0, deadline=0.15, priority=Priority.BATCH))
    queue.add(Entry("urgent", 1.0, deadline=0.15))  # goes first, so it does end in time


def test_discard_forgets_once():
    queue = make_queue()
    entry = Entry("x", 2.0)
    queue.add(entry)
    assert queue.discard(entry)
    assert not queue.discard(entry)
    assert (len(queue), queue.cost) == (0, 0.0)


def test_latency_fits_line_and_ignores_a_hiccup():
    latency = LatencyModel()
    for step in range(40):
        cost = 1.0 + step % 8
        hiccup = 10.0 if step == 20 else 0.0
        latency.observe(cost, 0.003 * cost + 0.02 + 0.0001 * (step % 3) + hiccup, float(step))
    assert latency.predict(10.0) == pytest.approx(0.05, rel=0.05)
    assert 0.05 <= latency.bound(10.0, 39.5) < 0.052


def test_latency_is_not_trusted_too_early_nor_too_long():
    latency = LatencyModel(trust_seconds=2.0)
    latency.observe(1.0, 9.0, 0.0)
    latency.observe(1.0, 9.0, 1.0)
    assert latency.bound(1.0, 1.0) == 0.0
    latency.observe(1.0, 9.0, 2.0)
    assert latency.bound(1.0, 3.0) == 9.0
    assert latency.bound(1.0, 4.5) == 0.0


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0, 100)), min_size=1, max_size=80))
def test_latency_never_predicts_nonsense(samples):
    latency = LatencyModel()
    for index, (cost, seconds) in enumerate(samples):
        latency.observe(cost, seconds, index * 0.1)
    predictions = [latency.predict(cost) for cost in (0.0, 1.0, 100.0, 1e5)]
    assert all(0 <= one < math.inf for one in predictions)
    assert predictions == sorted(predictions)
