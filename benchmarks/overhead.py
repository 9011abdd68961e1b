"""What the chassis adds to a call: identity service behind everything against a bare grpc.aio echo, in one run.

Ours: TLS, bearer token with scope and owner, deadline, request id, quota, spans exported over OTLP, JSON log line,
metrics, a batcher's thread, and the service-to-service channel on the caller's side. Theirs: none of it.
Calls alternate in rounds, one at a time, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc

from benchmarks.certificates import self_signed
from benchmarks.identity_servers import child_server
from services.runtime.channels import make_channel
from services.runtime.config import ClientConfig
from services.runtime.identity import ECHO

_ROUND = 50


async def _measure(calls: dict[str, Any], rounds: int, payload: bytes) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for step in range(rounds + 2):
        for name, call in calls.items():
            for _ in range(_ROUND):
                began = time.perf_counter()
                answer = await call(payload, timeout=10)
                if step >= 2:
                    taken[name].append(time.perf_counter() - began)
                assert answer == payload
        if step % 10 == 0:
            print(f"round {step} of {rounds}", file=sys.stderr)
    return taken


async def _run(folder: Path, *, rounds: int, payload: bytes) -> dict[str, Any]:
    certificate, key = self_signed(folder)
    tokens, token = folder / "tokens.toml", folder / "token"
    token.write_text("benchmark")
    digest = hashlib.sha256(b"benchmark").hexdigest()
    tokens.write_text(f'[[tokens]]\nsha256 = "{digest}"\nowner = "bench"\nscopes = ["identity"]\nmax_in_flight = 64\n')
    with child_server("sink") as sink, child_server("bare") as bare:
        flags = {
            "tls_certificate": certificate,
            "tls_key": key,
            "tokens_file": tokens,
            "otlp_endpoint": f"http://127.0.0.1:{sink.port}",
        }
        with child_server("chassis", *(f"--server.{name}={value}" for name, value in flags.items())) as chassis:
            plain = grpc.aio.insecure_channel(f"127.0.0.1:{bare.port}")
            ours = make_channel(
                f"localhost:{chassis.port}", ClientConfig(tls_ca=str(certificate), token_file=str(token))
            )
            calls = {"bare": plain.unary_unary(ECHO), "chassis": ours.unary_unary(ECHO)}
            before = (time.process_time(), bare.cpu_seconds(), chassis.cpu_seconds())
            taken = await _measure(calls, rounds, payload)
            after = (time.process_time(), bare.cpu_seconds(), chassis.cpu_seconds())
            await plain.close()
            await ours.close()
    spent = [round(end - start, 3) for start, end in zip(before, after, strict=True)]
    return _report(taken) | {
        "payload_bytes": len(payload),
        "calls_each": rounds * _ROUND,
        "with": ["tls", "token", "tracing (OTLP to a local sink)", "json logs", "metrics", "batcher"],
        "cpu_seconds_generator": spent[0],
        "cpu_seconds_bare_server": spent[1],
        "cpu_seconds_chassis_server": spent[2],
        "cores": os.cpu_count(),
    }


def _report(taken: dict[str, list[float]]) -> dict[str, Any]:
    report: dict[str, Any] = {"benchmark": "overhead"}
    for name, seconds in taken.items():
        cuts = statistics.quantiles(seconds, n=100)
        report[f"{name}_p50_ms"] = round(cuts[49] * 1000, 4)
        report[f"{name}_p99_ms"] = round(cuts[98] * 1000, 4)
    report["added_p50_ms"] = round(report["chassis_p50_ms"] - report["bare_p50_ms"], 4)
    report["added_p99_ms"] = round(report["chassis_p99_ms"] - report["bare_p99_ms"], 4)
    report["ratio"] = round(report["chassis_p50_ms"] / report["bare_p50_ms"], 3)
    report["passed"] = report["added_p50_ms"] <= 1.0
    return report


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the default and only form")
    parser.add_argument("--quick", action="store_true", help="few calls, for smoke tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(_run(Path(folder), rounds=4 if options.quick else 60, payload=os.urandom(1024)))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
