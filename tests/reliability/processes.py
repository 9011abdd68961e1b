"""Server processes as these tests handle them: started, killed, frozen, slowed, restarted on their old port, reaped."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["House", "Process", "eventually"]

_CALLS = "interactvlm_calls_total"
ROOT = Path(__file__).parents[2]
#: For anything that takes a moment on an idle machine: only a hang takes longer.
PATIENCE = 60.0


async def eventually(condition: Callable[[], bool], what: str, *, patience: float = PATIENCE) -> None:
    """Wait until `condition()` (which may block shortly) holds."""
    give_up = time.monotonic() + patience
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < give_up, f"not within {patience:.0f} s: {what}"
        await asyncio.sleep(0.05)


def _free_port() -> int:
    """A port that nobody listens on, below those the kernel gives to outgoing connections: it can be taken again."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@dataclass
class Process:
    """One server process."""

    name: str
    module: str
    folder: Path
    arguments: Sequence[str] = ()
    port: int = field(default_factory=_free_port)
    internal_port: int = field(default_factory=_free_port)
    popen: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.popen is not None
        return self.popen

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it; `wait` tells when it serves."""
        command = [sys.executable, "-m", "tests.reliability.child", self.module]
        command += ["--server.port", str(self.port), "--server.internal_port", str(self.internal_port)]
        command += ["--server.log_level", "warning", *self.arguments]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.popen = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def serves(self) -> bool:
        """Whether it says that all its services serve."""
        assert self.running.poll() is None, f"{self.name} ended with {self.running.returncode}:\n{self.log[-2000:]}"
        connection = http.client.HTTPConnection("127.0.0.1", self.internal_port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    async def until_serving(self) -> None:
        await eventually(self.serves, f"{self.name} serves")

    def signal(self, number: signal.Signals) -> None:
        self.running.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, also where it is stopped, and reap."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()

    async def restart_gracefully(self) -> None:
        """SIGTERM, its drain, and its successor on the same port."""
        self.signal(signal.SIGTERM)
        await asyncio.to_thread(self.running.wait, PATIENCE)
        assert self.running.returncode == 0, self.log[-2000:]
        self.start()
        await self.until_serving()

    def admin(self, command: str, **arguments: Any) -> Any:
        """What the service (`service`, where there are several) answers to an operator's command."""
        connection = http.client.HTTPConnection("127.0.0.1", self.internal_port, timeout=PATIENCE)
        try:
            body = json.dumps(arguments)
            connection.request("POST", f"/admin/{command}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = json.loads(response.read())
            assert response.status == 200, content
            return next(iter(content.values()))
        finally:
            connection.close()

    def replicas(self) -> Any:
        """An orchestrator's view of its stages."""
        return self.admin("replicas", service="interactvlm.v1.ContactService")

    def answered(self) -> float:
        """Calls that ended well here, over all methods."""
        connection = http.client.HTTPConnection("127.0.0.1", self.internal_port, timeout=PATIENCE)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(_CALLS) and 'code="OK"' in line)

    def resident_bytes(self) -> int:
        """Its memory."""
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024


@dataclass
class House:
    """Orchestrators over stub stages."""

    vlm: list[Process]
    mvloc: list[Process]
    orchestrators: list[Process]

    @property
    def processes(self) -> list[Process]:
        return [*self.vlm, *self.mvloc, *self.orchestrators]

    @classmethod
    def plan(
        cls,
        folder: Path,
        *,
        replicas: int,
        orchestrators: int,
        stage_arguments: Sequence[str] = (),
        orchestrator_arguments: Sequence[str] = (),
    ) -> House:
        """Processes that know of one another and are not started yet."""
        stages = {
            kind: [
                Process(
                    f"{kind}-{number}",
                    "tests.reliability.stub_stage",
                    folder,
                    ["--stage", kind, *stage_arguments],
                )
                for number in range(replicas)
            ]
            for kind in ("vlm", "mvloc")
        }
        arguments = [
            word for kind in stages for word in (f"--{kind}.targets", ",".join(p.address for p in stages[kind]))
        ]
        arguments += ["--meshes.folder", str(folder / "meshes"), "--balancing.wait_seconds", "2"]
        arguments += ["--balancing.probe_seconds", "1", *orchestrator_arguments]
        return cls(
            stages["vlm"],
            stages["mvloc"],
            [
                Process(f"orchestrator-{number}", "services.orchestrator", folder, arguments)
                for number in range(orchestrators)
            ],
        )

    async def start(self) -> None:
        for process in self.processes:
            process.start()
        for process in self.processes:
            await process.until_serving()

    def reap(self) -> None:
        for process in self.processes:
            process.kill()

    def stage(self, kind: str) -> list[Process]:
        return {"vlm": self.vlm, "mvloc": self.mvloc}[kind]

    async def until_all_are_seen(self, kind: str) -> None:
        """Wait until every orchestrator sends calls to every replica of a stage again."""

        def seen() -> bool:
            found = [replica for one in self.orchestrators for replica in one.replicas()[kind]]
            return all(replica["serving"] and not replica["ejected"] for replica in found)

        await eventually(seen, f"every replica of {kind} is seen serving")
