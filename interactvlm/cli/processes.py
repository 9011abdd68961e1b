"""Server processes of this machine under one roof: started together, watched, stopped together, never restarted."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import http.client
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interactvlm.errors import InteractVLMError

__all__ = ["ServerProcess", "free_ports", "start", "stop", "until_healthy"]

_PROBE_SECONDS = 0.25
_LAST_LINES = 5
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class ServerProcess:
    """One `python -m services.STAGE`.

    Attributes:
        name: what people call it ("vlm-2").
        stage: the service's folder under `services`.
        arguments: its flags.
        port: its public port.
        internal_port: its port for health, metrics and commands; always on loopback.
        log: file that gets what it prints.
    """

    name: str
    stage: str
    arguments: Sequence[str]
    port: int
    internal_port: int
    log: Path
    _process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Process id, once started."""
        return self._started().pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    async def ended(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        return await self._started().wait()

    def how_it_ended(self) -> str:
        """A sentence: who, how, and the last lines of its log."""
        status = self._started().returncode or 0
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if self.log.exists() else []
        said = "".join(f"\n  {_readable(line)}" for line in lines)
        return f"{self.name} (process {self.pid}) {how}; its log: {self.log}{said}"

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


async def start(process: ServerProcess, environment: Mapping[str, str]) -> None:
    """Start it in a session of its own, so that the terminal's Ctrl-C reaches only this command, which then stops it
    in good order. Should this command be killed, the kernel tells the server to drain (Linux).
    """
    with process.log.open("ab") as log:
        process._process = await asyncio.create_subprocess_exec(
            # -P: no `services` folder of the current directory takes the place of ours
            *(sys.executable, "-P", "-m", f"services.{process.stage}", *process.arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=_end_with_parent() if sys.platform == "linux" else None,
        )


async def until_healthy(processes: Sequence[ServerProcess], *, progress: Callable[[str], None]) -> None:
    """Wait until every one of them serves, however long its weights take.

    Args:
        processes: started ones.
        progress: called with who is still loading whenever that changes.

    Raises:
        InteractVLMError: one of them ended instead.
    """
    loading, told = list(processes), ""
    while loading:
        for process in loading:
            if not process.alive:
                raise InteractVLMError(process.how_it_ended())
        healthy = await asyncio.gather(*(asyncio.to_thread(_serves, process.internal_port) for process in loading))
        loading = [process for process, fine in zip(loading, healthy, strict=True) if not fine]
        text = f"loading: {', '.join(process.name for process in loading)}"
        if loading and text != told:
            progress(text)
            told = text
        if loading:
            await asyncio.sleep(_PROBE_SECONDS)


async def stop(processes: Sequence[ServerProcess], *, patience: float, hurry: asyncio.Event) -> list[str]:
    """Ask them to drain and end, all at once; kill what has not ended after `patience` seconds or once `hurry` is set.

    Returns:
        Names of those that had to be killed.
    """
    running = [process for process in processes if process.alive]
    for process in running:
        process._started().terminate()
    hurrying = asyncio.ensure_future(hurry.wait())
    ending = [asyncio.ensure_future(process.ended()) for process in running]
    deadline = time.monotonic() + patience
    try:
        while any(process.alive for process in running) and not hurry.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            pending = [task for task in ending if not task.done()]
            await asyncio.wait([hurrying, *pending], timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hurrying.cancel()
        killed = [process for process in running if process.alive]
        for process in killed:
            process._started().kill()
        await asyncio.gather(*ending)
    return [process.name for process in killed]


def _serves(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _readable(line: str) -> str:
    """A log line for people: servers log JSON."""
    try:
        record = json.loads(line)
        return f"{record['level']}: {record['message']}"
    except (ValueError, TypeError, KeyError):
        return line


def _end_with_parent() -> Callable[[], None]:
    library = ctypes.CDLL(None)  # loaded here: nothing may be imported or allocated between fork and exec
    return lambda: library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM)) and None
