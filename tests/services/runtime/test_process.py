from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.runtime.identity import ECHO, IDENTITY

ROOT = Path(__file__).parents[3]
MODULE = """
import sys
from dataclasses import dataclass, field
from services.runtime.config import ServerConfig
from services.runtime.identity import IdentityService
from services.runtime.process import run

@dataclass(frozen=True)
class Config:
    server: ServerConfig = field(default_factory=ServerConfig)
    batch_seconds: float = 0.0
    password: str = field(default="hush-hush", metadata={"secret": True})

if __name__ == "__main__":
    sys.exit(run(Config, lambda config: [IdentityService(batch_seconds=config.batch_seconds)], sys.argv[1:]))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "identity_process.py").write_text(MODULE)
    started: list[subprocess.Popen[str]] = []

    def make(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "identity_process", *arguments],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield make
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def free_ports(count: int) -> int:
    """First of `count` neighbouring ports, free a moment ago."""
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first: int = probe.getsockname()[1]
        try:
            for port in range(first + 1, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


def logged(process: subprocess.Popen[str], message: str) -> dict[str, Any]:
    """The next log line with `message`."""
    assert process.stderr is not None
    for line in process.stderr:
        record: dict[str, Any] = json.loads(line)
        if record["message"] == message:
            return record
    raise AssertionError(f"{message!r} was never logged")


def health(port: int) -> dict[str, str]:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
                found: dict[str, str] = json.loads(answer.read())
                return found
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_sigterm_lets_the_call_inside_end(start: Start) -> None:
    process = start("--batch_seconds", "0.7")
    assert logged(process, "starting")["config"]["password"] == "***"
    port = logged(process, "serving")["port"]
    answers: list[bytes] = []

    def ask() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            answers.append(channel.unary_unary(ECHO)(b"inside", timeout=20))

    caller = threading.Thread(target=ask)
    caller.start()
    time.sleep(0.4)
    process.send_signal(signal.SIGTERM)
    logged(process, "draining")
    caller.join(20)
    assert answers == [b"inside"]
    logged(process, "stopped")
    assert process.wait(20) == 0


def test_wrong_configuration_ends_the_process_in_one_sentence(start: Start) -> None:
    process = start("--server.port", "99999")
    _, text = process.communicate(timeout=30)
    assert process.returncode == 2
    assert text == "error: server.port: is 99999; it must lie between 0 and 65535\n"


def test_several_processes_share_one_port(start: Start) -> None:
    port, internal = free_ports(1), free_ports(2)
    process = start(
        "--server.processes=2",
        f"--server.port={port}",
        f"--server.internal_port={internal}",
        "--server.log_level=error",
    )
    assert [health(internal + index)[IDENTITY] for index in (0, 1)] == ["SERVING", "SERVING"]
    for _ in range(4):
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            assert channel.unary_unary(ECHO)(b"x", timeout=20) == b"x"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)


def test_a_child_that_fails_at_start_ends_them_all(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start("--server.processes=2", f"--server.port={taken.getsockname()[1]}")
        _, text = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "cannot be bound" in text


def test_a_second_signal_hurries(start: Start) -> None:
    process = start("--batch_seconds", "1.5")
    port = logged(process, "serving")["port"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(ECHO).future(b"inside", timeout=20)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        logged(process, "draining")
        process.send_signal(signal.SIGTERM)
        assert call.exception(20) is not None
    logged(process, "stopped")
    assert process.wait(20) == 0
