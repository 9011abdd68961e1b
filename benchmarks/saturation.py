"""What the way through the orchestrator leaves of an engine's throughput: calls by the thousand against full batches.

Rows of an engine that takes 20 ms for a batch, whatever its size (it sleeps): bare, full batches follow one another;
ours, the same number of photos goes through the orchestrator, the chassis and the batcher, in a closed loop of four
batches. A larger batch asks more of everything that is not the engine; `ceiling_per_second` is what that can do at
most, measured with an engine that takes no time. One row has nano's real engines on this machine's processor.
Generator and servers share the cores: `cpu_ms_per_photo` says who needed what.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import count as count_up
from itertools import repeat
from typing import Any

from benchmarks.load import Measured, closed_loop, connect, machine, photo
from benchmarks.stage_servers import Deployment, deployment

_BATCH_SECONDS = 0.02
#: The row that `ratio` is taken from.
_HEADLINE_ITEMS = 2


def _sleep_batches(count: int, items: int) -> float:
    """Photos a second of the bare engine."""
    began = time.perf_counter()
    for _ in range(count // items):
        time.sleep(_BATCH_SECONDS)
    return count / (time.perf_counter() - began)


async def _rounds(
    deployed: Deployment, *, bare: Callable[[int], float] | None, items: int, count: int, rounds: int
) -> tuple[list[float], list[Measured]]:
    """Bare and ours in turn, so that both see the same machine; a short round of ours goes before."""
    async with connect(deployed) as channel:
        await closed_loop(deployed, channel, repeat(photo()), count=8 * items, in_flight=4 * items)
        theirs, ours = [], []
        for _ in range(rounds):
            if bare is not None:
                theirs.append(bare(count))
            ours.append(await closed_loop(deployed, channel, repeat(photo()), count=count, in_flight=4 * items))
        return theirs, ours


def _row(engine: str, items: int, theirs: list[float], ours: list[Measured]) -> dict[str, Any]:
    ratios = [mine.rate / bare for bare, mine in zip(theirs, ours, strict=True)]
    best = max(ours, key=lambda mine: mine.rate)
    row = {
        "engine": engine,
        "items_per_batch": items,
        "bare_per_second": round(statistics.median(theirs), 1),
        "ours_per_second": round(statistics.median(mine.rate for mine in ours), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_best": round(max(ratios), 3),
        "cpu_ms_per_photo": best.cpu_ms_per_photo,
        **machine(),
    }
    print(row, file=sys.stderr)
    return row


def _fixed(items: int, *, seconds: float, rounds: int) -> dict[str, Any]:
    count = max(8 * items, round(seconds * items / _BATCH_SECONDS) // items * items)
    with _deployed(items, _BATCH_SECONDS) as deployed:
        theirs, ours = asyncio.run(
            _rounds(deployed, bare=lambda n: _sleep_batches(n, items), items=items, count=count, rounds=rounds)
        )
    return _row(f"{_BATCH_SECONDS * 1000:.0f} ms a batch, sleeping", items, theirs, ours)


def _ceiling(*, count: int, rounds: int) -> dict[str, Any]:
    with _deployed(16, 0.0) as deployed:
        _, ours = asyncio.run(_rounds(deployed, bare=None, items=16, count=count, rounds=rounds))
    best = max(ours, key=lambda mine: mine.rate)
    return {"ceiling_per_second": round(best.rate, 1), "ceiling_cpu_ms_per_photo": best.cpu_ms_per_photo}


def _deployed(items: int, seconds: float) -> Any:
    limits = (f"--limits.max_items={items}", f"--limits.max_cost={items}")
    return deployment(vlm=(f"--batch_seconds={seconds}", *limits), mvloc=("--batch_seconds=0",))


def _nano(*, items: int, count: int, rounds: int) -> dict[str, Any]:
    """Nano's stages; their answers are cached by photo, so every photo is asked about once."""
    from benchmarks.bare_nano import BareNano

    fresh = (photo(seed=seed) for seed in count_up())
    limits = (f"--batch.max_items={items}",)
    with deployment(nano=True, vlm=limits, mvloc=limits) as deployed:
        bare = BareNano()
        theirs, ours = [], []

        async def one(number: int) -> Measured:
            async with connect(deployed) as channel:
                return await closed_loop(deployed, channel, fresh, count=number, in_flight=2 * items)

        bare.rate([next(fresh) for _ in range(items)], items)
        asyncio.run(one(items))
        for _ in range(rounds):
            theirs.append(bare.rate([next(fresh) for _ in range(count)], items))
            ours.append(asyncio.run(one(count)))
    return _row("nano, binary question", items, theirs, ours)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the default and only form")
    parser.add_argument("--quick", action="store_true", help="one short row of the sleeping engine, for smoke tests")
    options = parser.parse_args()
    report: dict[str, Any] = {"benchmark": "saturation"}
    if options.quick:
        rows = [_fixed(_HEADLINE_ITEMS, seconds=0.5, rounds=1)]
    else:
        rows = [_fixed(items, seconds=3.0, rounds=5) for items in (1, 2, 4, 8)]
        report |= _ceiling(count=600, rounds=3)
        rows.append(_nano(items=4, count=24, rounds=3))
        report["ratio_nano"] = rows[-1]["ratio"]
    headline = next(row for row in rows if row["items_per_batch"] == _HEADLINE_ITEMS)
    report |= {"ratio": headline["ratio"], "ratio_of": f"{headline['engine']}, {_HEADLINE_ITEMS} a batch"}
    report |= {"passed": report["ratio"] >= 0.95, "rows": rows, **machine()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
