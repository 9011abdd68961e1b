"""Memory of every service at rest, and after ten thousand requests more.

At rest means: warmed up by a thousand requests, then quiet until the chassis has given back what was freed. Then come
the requests, and the same rest. What an operator lets a service keep counts as full from the warm-up on
(`replay_max_bytes`, and for nano no cached answers: a cache that fills is no leak, one that overfills would show).
`resident` is all memory, `anonymous` that part of it behind which there is no file (the heap); `growth_percent` is the
worse of both.

Rows: photos of 24 sizes through the orchestrator over stages that take no time;
words to retrieval's embedded catalogue, what fitting answers; nano's real engines, by fewer requests.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import grpc

from benchmarks.identity_servers import ChildServer, child_server
from benchmarks.load import closed_loop, connect, machine, photo
from benchmarks.stage_servers import Deployment, deployment
from interactvlm.v1.retrieval_service_pb2 import SearchRequest

_MOST_PERCENT = 2.0
_REPLAY_BYTES = 4 * 2**20
#: Twice what the chassis waits for before it counts as resting (services/runtime/memory.py), and a moment.
_REST_SECONDS = 23.0
_IN_FLIGHT = 8
_MIB = 2**20
_QUIET = "--server.log_level=warning"
_SMALL = {
    "retrieval": ("/interactvlm.v1.RetrievalService/Search", SearchRequest(text="a red chair").SerializeToString()),
    "fitting": ("/interactvlm.v1.FittingService/Fit", b""),
}


def _memory(servers: Mapping[str, ChildServer]) -> dict[str, dict[str, int]]:
    time.sleep(_REST_SECONDS)
    return {
        name: {"resident": server.resident_bytes(), "anonymous": server.anonymous_bytes()}
        for name, server in servers.items()
    }


def _grown(
    servers: Mapping[str, ChildServer], load: Callable[[int], None], *, warm_up: int, requests: int
) -> dict[str, dict[str, Any]]:
    """Memory by service before and after `requests`."""
    load(warm_up)
    before = _memory(servers)
    print({name: f"{found['anonymous'] / _MIB:.1f} MiB at rest" for name, found in before.items()}, file=sys.stderr)
    load(requests)
    after = _memory(servers)
    rows = {}
    for name in servers:
        growths = [100 * (after[name][kind] / before[name][kind] - 1) for kind in ("resident", "anonymous")]
        rows[name] = {
            f"{kind}_mib_{when}": round(found[name][kind] / _MIB, 2)
            for when, found in (("at_rest", before), ("after", after))
            for kind in ("resident", "anonymous")
        }
        rows[name] |= {"requests": requests, "growth_percent": round(max(growths), 2)}
        print(name, rows[name], file=sys.stderr)
    return rows


def _photos(deployed: Deployment) -> Callable[[int], None]:
    """Asks about photos of many sizes."""
    sent = itertools.cycle([photo(160 + 32 * size, 128 + 16 * size, seed=size) for size in range(24)])

    async def ask(count: int) -> None:
        async with connect(deployed) as channel:
            await closed_loop(deployed, channel, sent, count=count - 2 * _IN_FLIGHT, in_flight=_IN_FLIGHT)

    return lambda count: asyncio.run(ask(count))


def _chassis(*, warm_up: int, requests: int) -> dict[str, dict[str, Any]]:
    stage = ("--batch_seconds=0", _QUIET)
    front = (f"--replay.max_bytes={_REPLAY_BYTES}", _QUIET)
    with deployment(vlm=stage, mvloc=stage, front=front) as deployed:
        servers = {"orchestrator": deployed.orchestrator, "vlm": deployed.vlm[0], "mvloc": deployed.mvloc}
        return _grown(servers, _photos(deployed), warm_up=warm_up, requests=requests)


def _nano(*, warm_up: int, requests: int) -> dict[str, dict[str, Any]]:
    front = (f"--replay.max_bytes={_REPLAY_BYTES}", _QUIET)
    with deployment(nano=True, vlm=("--answer_cache_bytes=0", _QUIET), mvloc=(_QUIET,), front=front) as deployed:
        servers = {"vlm_nano": deployed.vlm[0], "mvloc_nano": deployed.mvloc}
        return _grown(servers, _photos(deployed), warm_up=warm_up, requests=requests)


def _asked(servers: Mapping[str, ChildServer]) -> Callable[[int], None]:
    """Searches, and calls what fitting does not have yet: it answers UNIMPLEMENTED."""

    async def call(server: ChildServer, method: str, request: bytes, count: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            ask = channel.unary_unary(method)
            for _ in range(count):
                try:
                    await ask(request, timeout=20)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                        raise

    async def ask(count: int) -> None:
        await asyncio.gather(*(call(server, *_SMALL[name], count) for name, server in servers.items()))

    return lambda count: asyncio.run(ask(count))


def _small(*, warm_up: int, requests: int) -> dict[str, dict[str, Any]]:
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(child_server(name, _QUIET, module="benchmarks.stage_servers")) for name in _SMALL
        }
        return _grown(servers, _asked(servers), warm_up=warm_up, requests=requests)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the default and only form")
    parser.add_argument("--quick", action="store_true", help="a few requests, without nano, for smoke tests")
    options = parser.parse_args()
    size = {"warm_up": 50, "requests": 100} if options.quick else {"warm_up": 1000, "requests": 10_000}
    rows = _chassis(**size) | _small(**size)
    if not options.quick:
        rows |= _nano(warm_up=40, requests=100)
    worst = max(row["growth_percent"] for row in rows.values())
    report: dict[str, Any] = {
        "benchmark": "memory",
        "growth_percent": {name: row["growth_percent"] for name, row in rows.items()},
        "ratio": round(1 + worst / 100, 4),
        "ratio_of": "memory after the requests over memory at rest, the worst service",
        "passed": worst <= _MOST_PERCENT,
        "warm_up": size["warm_up"],
        "replay_max_bytes": _REPLAY_BYTES,
        "services": rows,
        **machine(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
