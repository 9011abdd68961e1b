"""The servers that benchmarks of the chassis call, each a process of its own.

`python -m benchmarks.identity_servers bare` is the least a grpc.aio server can be; `chassis` is the identity service
behind everything (`--server.* ` flags as usual); `sink` swallows spans over OTLP. Each prints its port.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import psutil

from services.runtime.batching import BatchLimits
from services.runtime.config import ServerConfig, load_config
from services.runtime.identity import ECHO, IDENTITY, IdentityService
from services.runtime.server import serve

__all__ = ["ChildServer", "child_server", "free_port"]


@dataclass(frozen=True)
class IdentityConfig:
    """Configuration of the `chassis` server.

    Attributes:
        server: as for every server.
        batch_seconds: time the engine takes for a batch.
        limits: bounds of its batcher.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    batch_seconds: float = 0.0
    limits: BatchLimits = field(default_factory=BatchLimits)


class ChildServer:
    """A server process and what it has used."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.port = int(process.stdout.readline())
        self._process = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        """Memory held in RAM now."""
        return int(self._process.memory_info().rss)

    def anonymous_bytes(self) -> int:
        """Of that, what no file is behind: the heap. The rest depends on who else has mapped the same libraries."""
        memory = self._process.memory_info()
        return int(memory.rss - memory.shared)


@contextmanager
def child_server(kind: str, *arguments: str, module: str = "benchmarks.identity_servers") -> Iterator[ChildServer]:
    """Start `kind` of `module` on a free port; it ends with the block."""
    command = [sys.executable, "-m", module, kind, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield ChildServer(process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def _bare() -> None:
    async def echo(request: bytes, context: Any) -> bytes:
        return request

    await _generic(IDENTITY, {"Echo": grpc.unary_unary_rpc_method_handler(echo)})


async def _sink() -> None:
    async def export(request: bytes, context: Any) -> bytes:
        return b""

    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    await _generic(service, {"Export": grpc.unary_unary_rpc_method_handler(export)})


async def _generic(service: str, handlers: dict[str, Any]) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def _chassis(arguments: Sequence[str]) -> None:
    config = load_config(IdentityConfig, arguments=arguments)
    service = IdentityService(batch_seconds=config.batch_seconds, limits=config.limits)
    await serve([service], config.server, ready=lambda port: print(port, flush=True))


def main() -> None:
    """Serve until terminated."""
    kind, *arguments = sys.argv[1:]
    asyncio.run({"bare": _bare, "sink": _sink, "chassis": lambda: _chassis(arguments)}[kind]())


if __name__ == "__main__":
    assert ECHO.startswith(f"/{IDENTITY}/")
    main()
