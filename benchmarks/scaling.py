"""How throughput grows with replicas of one stage: 1, 2, 4 and 8 of fixed latency behind one orchestrator.

Each replica answers one photo in `stage_ms`, in which it sleeps, so that replicas need no processor for their work;
what is measured is whether the orchestrator keeps all of them busy (least outstanding of two choices, hedges on, four
photos in flight for each). Efficiency is the rate with n over n times the rate with one. Generator, orchestrator and
all replicas share this machine's cores: when `cores_used` comes near their number, it is they that end the growth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from itertools import repeat
from typing import Any

from benchmarks.load import Measured, closed_loop, connect, machine, photo
from benchmarks.stage_servers import deployment

#: The first is what `efficiency_8` is taken from: eight replicas of it ask for 80 photos a second.
_STAGE_SECONDS = (0.1, 0.02)
_IN_FLIGHT_EACH = 4


async def _measure(replicas: int, stage_seconds: float, *, seconds: float, rounds: int) -> Measured:
    flags = (f"--batch_seconds={stage_seconds}", "--limits.max_items=1", "--limits.max_cost=1")
    in_flight = _IN_FLIGHT_EACH * replicas
    count = round(seconds * replicas / stage_seconds)
    with deployment(replicas=replicas, vlm=flags, mvloc=("--batch_seconds=0",)) as deployed:
        async with connect(deployed) as channel:
            found = [
                await closed_loop(deployed, channel, repeat(photo()), count=count, in_flight=in_flight)
                for _ in range(rounds)
            ]
    return max(found, key=lambda one: one.rate)


def _row(stage_seconds: float, *, most: int, seconds: float, rounds: int) -> dict[str, Any]:
    row: dict[str, Any] = {"stage_ms": stage_seconds * 1000}
    single = 0.0
    for replicas in (1, 2, 4, 8):
        if replicas > most:
            break
        found = asyncio.run(_measure(replicas, stage_seconds, seconds=seconds, rounds=rounds))
        single = single or found.rate
        spent = found.cpu_ms_per_photo
        row |= {
            f"per_second_{replicas}": round(found.rate, 2),
            f"efficiency_{replicas}": round(found.rate / (replicas * single), 3),
            f"of_ideal_{replicas}": round(found.rate * stage_seconds / replicas, 3),
            f"cpu_ms_per_photo_{replicas}": spent,
            f"cores_used_{replicas}": round(sum(spent.values()) / 1000 * found.rate, 2),
        }
        print(replicas, round(found.rate, 2), spent, machine(), file=sys.stderr)
    return row


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the default and only form")
    parser.add_argument("--quick", action="store_true", help="one and two replicas for a moment, for smoke tests")
    options = parser.parse_args()
    if options.quick:
        rows = [_row(_STAGE_SECONDS[0], most=2, seconds=1.0, rounds=1)]
    else:
        rows = [_row(stage_seconds, most=8, seconds=4.0, rounds=3) for stage_seconds in _STAGE_SECONDS]
    report: dict[str, Any] = {"benchmark": "scaling", **rows[0], "rows": rows, **machine()}
    report["ratio"] = rows[0]["efficiency_2" if options.quick else "efficiency_8"]
    report["passed"] = report["ratio"] >= 0.95
    print(json.dumps(report))


if __name__ == "__main__":
    main()
