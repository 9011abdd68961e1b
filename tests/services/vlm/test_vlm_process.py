"""`python -m services.vlm` as a process; wrong configurations of both stages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interactvlm.types import Question, Task
from interactvlm.v1 import vlm_service_pb2, vlm_service_pb2_grpc
from interactvlm.wire import encode_question
from services.mvloc.__main__ import make as make_mvloc
from services.mvloc.config import MvlocConfig
from services.runtime.process import run
from services.vlm.__main__ import make as make_vlm
from services.vlm.config import VlmConfig

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("config", "make"), [(VlmConfig, make_vlm), (MvlocConfig, make_mvloc)])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtype", "int4"], "dtype: is 'int4'"),
        (["--cache_bytes=-1"], "cache_bytes: is -1"),
        (["--colour", "red"], "--colour: is not known"),
        (["--canary.weight", "2"], "canary.weight: is 2.0"),
        (["--server.host", "192.0.2.1"], "server.tokens_file: is empty"),
        (["--server.processes=2", "--server.port=50051"], "server.processes: is 2; this server holds a model"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(
    config: type[VlmConfig] | type[MvlocConfig],
    make: Callable[..., Any],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(config, make, arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.fixture
def process(vlm_config: VlmConfig, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = tmp_path / "stage.toml"
    file.write_text(
        f'model = "{vlm_config.model}"\nvision_tower = "{vlm_config.vision_tower}"\n'
        f'cache_dir = "{tmp_path}"\n[server]\nlog_level = "error"\ninternal_port = -1\n'
    )
    environment = {**os.environ, "INTERACTVLM_SERVER_PORT": str(port), "INTERACTVLM_DEVICE": "cpu"}
    command = [sys.executable, "-m", "services.vlm", "--config", str(file)]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as started:
        try:
            yield started, port
        finally:
            started.kill()


def test_a_process_serves_and_drains(process: tuple[subprocess.Popen[bytes], int], photos: list[bytes]) -> None:
    started, port = process
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        name = "interactvlm.v1.VlmService"
        for status in health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=120, wait_for_ready=True):
            if status.status == health_pb2.HealthCheckResponse.SERVING:
                break
        request = vlm_service_pb2.AnswerRequest(
            encoded=photos[0], questions=[encode_question(Question(Task.BINARY))], fast=True
        )
        response = vlm_service_pb2_grpc.VlmServiceStub(channel).Answer(request, timeout=60)
        assert response.answers[0].contact_token
    started.send_signal(signal.SIGTERM)
    assert started.wait(timeout=60) == 0
