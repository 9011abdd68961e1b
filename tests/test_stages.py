from __future__ import annotations

import time

import pytest

from interactvlm.errors import CancelledError, DeadlineExceededError
from interactvlm.stages import CallContext


def test_without_a_deadline_nothing_stops() -> None:
    context = CallContext()
    assert context.remaining() is None
    assert not context.should_stop()
    context.check()


def test_a_passed_deadline_stops() -> None:
    context = CallContext(deadline=time.monotonic() - 1)
    assert context.should_stop()
    with pytest.raises(DeadlineExceededError):
        context.check()


def test_cancelling_comes_before_the_deadline() -> None:
    context = CallContext.within(-1)
    context.cancel()
    with pytest.raises(CancelledError):
        context.check()


def test_remaining_counts_down() -> None:
    remaining = CallContext.within(60).remaining()
    assert remaining is not None
    assert 59 < remaining <= 60
