"""A server's process: configuration from the command line, one process or several on one port, exit status.

Several processes share the public port (SO_REUSEPORT); the parent only starts them, replaces one that died, and hands
on SIGTERM. Process i has internal port `internal_port` + i.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from interactvlm.errors import InputError, InteractVLMError
from services.runtime.config import ServerConfig, load_config
from services.runtime.server import Service, serve

__all__ = ["run"]

#: Set in the children: which of the processes this is.
_INDEX = "INTERACTVLM_PROCESS_INDEX"
#: A child that lived shorter than this failed at start: no use in starting it again.
_SHORTEST_LIFE = 5.0


class _Configuration(Protocol):
    @property
    def server(self) -> ServerConfig: ...


C = TypeVar("C", bound=_Configuration)


def run(config_class: type[C], make: Callable[[C], Sequence[Service]], arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; the exit status (0, or that of the error, whose sentence is on stderr).

    Args:
        config_class: dataclass with a `server: ServerConfig`.
        make: the services of one process.
        arguments: the command line without the program's name.
    """
    try:
        config = load_config(config_class, arguments=arguments)
        index = os.environ.get(_INDEX)
        if config.server.processes > 1 and index is None:
            return _supervise(config.server.processes, arguments)
        server = config.server
        if index is not None and server.internal_port > 0:
            server = replace(server, internal_port=server.internal_port + int(index))
        asyncio.run(_serve(config, make, server))
    except InteractVLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


async def _serve(config: C, make: Callable[[C], Sequence[Service]], server: ServerConfig) -> None:
    await serve(make(config), server, shown=config)


def _supervise(count: int, arguments: Sequence[str]) -> int:
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        raise InputError("server.processes", "needs a start by `python -m`")
    command = [sys.executable, "-m", spec.name.removesuffix(".__main__"), *arguments]
    ending = threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def on_signal(number: int, _: object) -> None:
        ending.set()
        for child in children:
            child.send_signal(number)

    def start(index: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env={**os.environ, _INDEX: str(index)})  # noqa: S603 - our own command line

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    children.extend(start(index) for index in range(count))
    born = [time.monotonic()] * count
    status = 0
    while not ending.wait(0.2):
        for index, child in enumerate(children):
            if child.poll() is None or ending.is_set():
                continue
            if time.monotonic() - born[index] < _SHORTEST_LIFE:
                status = child.returncode or 1
                on_signal(signal.SIGTERM, None)
                break
            children[index], born[index] = start(index), time.monotonic()
    for child in children:
        child.wait()
    return status
