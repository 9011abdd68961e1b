"""Goodput under overload: the identity service with a slow engine, offered more than it can do.

Peak is what a closed loop of callers gets out of it. Then calls arrive on their own clock (open loop, Poisson) at 1, 2
and 5 times that rate, each with the same deadline; goodput counts answers that arrive within it. A server without
bounded admission answers everything too late; one that starts expired work wastes its engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
import urllib.request
from collections import Counter
from typing import Any

import grpc

from benchmarks.identity_servers import ChildServer, child_server, free_port
from services.runtime.identity import ECHO, IDENTITY

_BATCH_SECONDS = 0.08
_BATCH_ITEMS = 8
_DEADLINE = 0.5


async def _closed_loop(call: Any, seconds: float) -> float:
    """Answers a second of enough callers to keep every batch full."""
    done = 0
    ends = time.monotonic() + seconds

    async def caller() -> None:
        nonlocal done
        while time.monotonic() < ends:
            await call(b"x", timeout=10)
            done += 1

    began = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(3 * _BATCH_ITEMS)))
    return done / (time.monotonic() - began)


async def _open_loop(call: Any, rate: float, seconds: float, dice: random.Random) -> dict[str, Any]:
    """Outcomes of `rate` calls a second for `seconds`, whatever becomes of earlier ones.

    Goodput is what arrives in time from the first deadline to the last arrival: neither the empty queue of the start
    nor the full one of the end counts.
    """
    outcomes: Counter[str] = Counter()
    good: list[float] = []
    late = 0.0

    async def one() -> None:
        began = time.monotonic()
        try:
            await call(b"x", timeout=_DEADLINE)
        except grpc.aio.AioRpcError as error:
            outcomes[error.code().name] += 1
        else:
            now = time.monotonic()
            outcomes["OK" if now - began <= _DEADLINE else "LATE"] += 1
            if now - began <= _DEADLINE:
                good.append(now)

    began = due = time.monotonic()
    tasks = set()
    while due < began + seconds:
        due += dice.expovariate(rate)
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        late = max(late, -wait)
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    ended = time.monotonic()
    while tasks:
        await asyncio.gather(*tasks)
    counted = sum(began + _DEADLINE <= moment <= ended for moment in good)
    return {
        "offered_per_second": round(outcomes.total() / (ended - began), 1),
        "goodput_per_second": round(counted / (ended - began - _DEADLINE), 1),
        "outcomes": dict(outcomes),
        "generator_late_ms": round(late * 1000, 1),
    }


def _counts(port: int) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/admin/counts", data=b"{}", headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        found: dict[str, Any] = json.loads(answer.read())[IDENTITY]
    return found


async def _run(server: ChildServer, internal_port: int, *, seconds: float) -> dict[str, Any]:
    dice = random.Random(7)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary(ECHO)
        await _closed_loop(call, 1.0)  # the latency model learns
        before = (time.process_time(), server.cpu_seconds())
        peak = await _closed_loop(call, seconds)
        loads = {}
        for factor in (1, 2, 5):
            print(f"{factor} x {peak:.0f} calls a second", file=sys.stderr)
            loads[factor] = await _open_loop(call, factor * peak, seconds, dice)
        # The machine drifts (others work on it): peak is the mean of before and after.
        peak = (peak + await _closed_loop(call, seconds)) / 2
        after = (time.process_time(), server.cpu_seconds())
    report: dict[str, Any] = {
        "benchmark": "overload",
        "engine": f"{_BATCH_SECONDS * 1000:.0f} ms per batch of at most {_BATCH_ITEMS}",
        "deadline_ms": _DEADLINE * 1000,
        "peak_per_second": round(peak, 1),
        "peak_of_engine": _BATCH_ITEMS / _BATCH_SECONDS,
    }
    for factor, load in loads.items():
        report[f"load_{factor}x"] = load
        report[f"goodput_ratio_{factor}x"] = round(load["goodput_per_second"] / peak, 3)
    report["ratio"] = report["goodput_ratio_5x"]
    report["expired_started"] = _counts(internal_port)["expired_started"]
    report["passed"] = (
        min(report["goodput_ratio_2x"], report["goodput_ratio_5x"]) >= 0.9 and not report["expired_started"]
    )
    return report | {
        "cpu_seconds_generator": round(after[0] - before[0], 3),
        "cpu_seconds_server": round(after[1] - before[1], 3),
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the default and only form")
    parser.add_argument("--quick", action="store_true", help="short phases, for smoke tests")
    options = parser.parse_args()
    internal_port = free_port()
    flags = {
        "server.internal_port": internal_port,
        "server.log_level": "warning",
        "batch_seconds": _BATCH_SECONDS,
        "limits.max_items": _BATCH_ITEMS,
        "limits.max_cost": _BATCH_ITEMS,
        "limits.max_pending_items": 8 * _BATCH_ITEMS,
    }
    with child_server("chassis", *(f"--{name}={value}" for name, value in flags.items())) as server:
        report = asyncio.run(_run(server, internal_port, seconds=2.0 if options.quick else 10.0))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
