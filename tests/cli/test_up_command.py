"""`interactvlm up` with stand-ins for the servers: small programs that speak only /health."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interactvlm.cli.up import parse_replicas, plan
from interactvlm.errors import InputError

STAGES = ("vlm", "mvloc", "retrieval", "fitting", "orchestrator")

SERVER = """
import http.server, json, os, signal, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(json.dumps({"level": "info", "message": "arguments " + " ".join(sys.argv[1:])}), flush=True)
print(json.dumps({"level": "info", "message": "environment " + os.environ.get("INTERACTVLM_SERVER_PORT", "-")}))
http.server.HTTPServer(("127.0.0.1", int(flags["--server.internal_port"])), Handler).serve_forever()
"""
DYING = 'import sys; sys.stderr.write("error: device: is cuda:9; this machine has 0\\n"); sys.exit(2)'
STUBBORN = SERVER.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")

COMMAND = """
import sys
from pathlib import Path
import interactvlm.cli.up as up
from interactvlm.cli import main
root = Path(sys.argv.pop(1))
up._services_root = lambda: root
up._STOP_SECONDS = 3.0
main()
"""


@pytest.fixture
def servers(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for stage in STAGES:
        folder = root / "services" / stage
        folder.mkdir(parents=True)
        (folder / "__main__.py").write_text(SERVER)
    return root


class Running:
    """The command in a process of its own."""

    def __init__(self, root: Path, logs: Path, *arguments: str) -> None:
        self.logs = logs
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(root), "up", "--port", "0", "--json", "--logs", str(logs), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "INTERACTVLM_SERVER_PORT": "1"},
        )
        self.pids: dict[str, int] = {}

    def ready(self) -> dict[str, Any]:
        """What it prints when everything serves."""
        assert self.process.stdout is not None
        text = ""
        while not text.rstrip().endswith("\n}"):
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            text += line
        announced: dict[str, Any] = json.loads(text)
        self.pids = {entry["name"]: entry["pid"] for entry in announced["processes"]}
        return announced

    def finished(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text()


@pytest.fixture
def up(servers: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*arguments: str) -> Running:
        started.append(Running(servers, tmp_path / "logs", *arguments))
        return started[-1]

    yield run
    for running in started:
        running.process.kill()
        running.process.communicate()
        for pid in running.pids.values():
            if _exists(pid):
                os.kill(pid, signal.SIGKILL)


def _exists(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _await_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(map(_exists, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_command_starts_and_stops_all(up: Callable[..., Running], number: signal.Signals) -> None:
    running = up("--replicas", "vlm=2", "--model", "folder", "--device", "cuda:0,cuda:1")
    announced = running.ready()
    assert set(running.pids) == {"vlm-1", "vlm-2", "mvloc-1", "retrieval-1", "fitting-1", "orchestrator"}
    assert announced["address"] == f"127.0.0.1:{announced['processes'][-1]['port']}"
    assert "--model folder --device cuda:0" in running.log("vlm-1")
    assert "--model folder --device cuda:1" in running.log("vlm-2")
    ports = {entry["name"]: entry["port"] for entry in announced["processes"]}
    arguments = running.log("orchestrator")
    assert f"--vlm.targets 127.0.0.1:{ports['vlm-1']},127.0.0.1:{ports['vlm-2']}" in arguments
    assert f"--mvloc.targets 127.0.0.1:{ports['mvloc-1']}" in arguments
    os.kill(running.process.pid, number)
    code, errors = running.finished()
    assert code == 0, errors
    assert not any(_exists(pid) for pid in running.pids.values())
    assert "killed" not in errors
    # The public server's environment reaches it alone.
    assert "environment 1" in running.log("orchestrator")
    assert "environment -" in running.log("vlm-1")


def test_a_server_that_cannot_start_ends_all_and_says_why(up: Callable[..., Running], servers: Path) -> None:
    (servers / "services" / "mvloc" / "__main__.py").write_text(DYING)
    code, errors = up().finished()
    assert code == 1
    assert "mvloc-1 (process" in errors
    assert "ended with status 2" in errors
    assert "device: is cuda:9" in errors
    assert "Traceback" not in errors


def test_a_dead_replica_is_told_and_the_others_go_on(up: Callable[..., Running]) -> None:
    running = up("--replicas", "vlm=2")
    running.ready()
    os.kill(running.pids["vlm-1"], signal.SIGKILL)
    _await_end([running.pids["vlm-1"]])
    time.sleep(0.3)
    assert running.process.poll() is None
    assert all(_exists(running.pids[name]) for name in ("vlm-2", "mvloc-1", "orchestrator"))
    os.kill(running.pids["vlm-2"], signal.SIGKILL)
    code, errors = running.finished()
    assert code == 1
    assert "vlm-1 (process" in errors
    assert "was killed by SIGKILL" in errors
    assert "it is not restarted; 1 of vlm left" in errors
    assert "vlm has no process left" in errors
    assert not any(_exists(pid) for pid in running.pids.values())


def test_a_server_that_does_not_end_is_killed_and_named(up: Callable[..., Running], servers: Path) -> None:
    (servers / "services" / "mvloc" / "__main__.py").write_text(STUBBORN)
    running = up()
    running.ready()
    running.process.terminate()
    code, errors = running.finished()
    assert code == 0
    assert "did not end by themselves: mvloc-1" in errors
    assert not any(_exists(pid) for pid in running.pids.values())


def test_a_second_signal_does_not_wait(up: Callable[..., Running], servers: Path) -> None:
    (servers / "services" / "orchestrator" / "__main__.py").write_text(STUBBORN)
    running = up()
    running.ready()
    running.process.terminate()
    time.sleep(0.3)
    running.process.terminate()
    code, _ = running.finished()
    assert code == 0
    assert not any(_exists(pid) for pid in running.pids.values())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_servers_end_with_a_killed_command(up: Callable[..., Running]) -> None:
    running = up()
    running.ready()
    running.process.kill()
    _await_end(list(running.pids.values()))


@pytest.mark.parametrize("text", ["llm=1", "vlm", "vlm=0", "vlm=65", "vlm=two", "retrieval=-1"])
def test_replicas_are_checked(text: str) -> None:
    with pytest.raises(InputError, match="--replicas"):
        parse_replicas(text)


def test_the_front_knows_every_engine(tmp_path: Path) -> None:
    processes = plan(
        parse_replicas("retrieval=2"),
        host="127.0.0.1",
        port=7,
        model="folder",
        devices=["cpu"],
        config=None,
        orchestrator=None,
        logs=tmp_path,
    )
    by_name = {process.name: process for process in processes}
    front = list(by_name["orchestrator"].arguments)
    ports = [by_name[f"retrieval-{number}"].port for number in (1, 2)]
    assert front[front.index("--retrieval.targets") + 1] == ",".join(f"127.0.0.1:{port}" for port in ports)
    assert "--device" in by_name["retrieval-1"].arguments
    assert "--model" not in by_name["fitting-1"].arguments


def test_stages_that_no_photo_needs_may_be_left_out(tmp_path: Path) -> None:
    counts = parse_replicas("retrieval=0, fitting=0")
    processes = plan(
        counts, host="127.0.0.1", port=7, model=None, devices=[], config=None, orchestrator=None, logs=tmp_path
    )
    assert [process.name for process in processes] == ["vlm-1", "mvloc-1", "orchestrator"]
    assert "--retrieval.targets" not in processes[-1].arguments
    assert processes[-1].port == 7
    ports = [port for process in processes for port in (process.port, process.internal_port)]
    assert len(set(ports)) == len(ports)
