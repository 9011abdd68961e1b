"""`python -m services.retrieval` as a process over a table without encoders; wrong configurations."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.vector_table import VectorTable
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.v1 import retrieval_service_pb2_grpc
from interactvlm.wire import to_tensor
from services.retrieval.__main__ import make
from services.retrieval.config import RetrievalConfig
from services.runtime.process import run

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--decode_threads=0"], "decode_threads: is 0"),
        (["--refresh_seconds=0"], "refresh_seconds: is 0"),
        (["--max_owner_meshes=-1"], "max_owner_meshes: is -1"),
        (["--open_owners=0"], "open_owners: is 0"),
        (["--shape_encoder", "folder"], "shape_encoder: goes with a table"),
        (["--query_encoder", "folder"], "query_encoder: goes with a table"),
        (["--table", "/nowhere", "--server.internal_port=-1"], "/nowhere: is no table"),
        (["--server.processes=2", "--server.port=50051"], "server.processes: is 2; this server holds a model"),
        (["--dtype", "int4"], "dtype: is 'int4'"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(RetrievalConfig, make, ["--server.log_level=error", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_a_missing_package_is_one_sentence() -> None:
    code = (
        "import sys; sys.modules['faiss'] = None\n"
        "from services.retrieval.__main__ import make, run, RetrievalConfig\n"
        "sys.exit(run(RetrievalConfig, make, ['--server.log_level=error']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert ended.stderr == "error: faiss-cpu is not installed: pip install 'interactvlm[retrieval]'\n"


@dataclass
class Started:
    process: subprocess.Popen[bytes]
    table: Path
    port: int
    internal_port: int

    def command(self, name: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.internal_port}/admin/{name}",
            data=json.dumps({"service": "interactvlm.v1.RetrievalService"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)["interactvlm.v1.RetrievalService"]

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.internal_port}/metrics", timeout=30) as answer:
            return answer.read().decode()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    VectorTable(tmp_path / "table").add([TableRow(id="a", name="first"), TableRow(id="b")], np.eye(2, 4))
    with ExitStack() as stack:
        probes = [stack.enter_context(closing(socket.socket())) for _ in range(2)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        port, internal_port = (probe.getsockname()[1] for probe in probes)
    environment = {**os.environ, "INTERACTVLM_TABLE": str(tmp_path / "table"), "INTERACTVLM_REFRESH_SECONDS": "600"}
    ports = [f"--server.port={port}", f"--server.internal_port={internal_port}", "--server.log_level=error"]
    command = [sys.executable, "-m", "services.retrieval", "--device=cpu", *ports]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            yield Started(process, tmp_path / "table", port, internal_port)
        finally:
            process.kill()


def test_a_process_serves_reloads_and_drains(started: Started) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{started.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("interactvlm.v1.RetrievalService", "interactvlm.v1.RetrievalAdminService"):
            asked = health_pb2.HealthCheckRequest(service=name)
            for status in health.Watch(asked, timeout=120, wait_for_ready=True):
                if status.status == health_pb2.HealthCheckResponse.SERVING:
                    break
        stub: Any = retrieval_service_pb2_grpc.RetrievalServiceStub(channel)
        request = pb.SearchRequest(embedding=to_tensor(np.array([0, 0.5, 1, 0], np.float32)))
        response = stub.Search(request, timeout=60)
        assert ([hit.id for hit in response.hits], response.index_version) == (["b", "a"], "table-1")
        VectorTable(started.table).add([TableRow(id="c")], np.eye(3, 4)[2:])
        assert stub.Search(request, timeout=60).index_version == "table-1"
        told = started.command("reload")
        assert (told["version"], told["rows"], told["reloaded"]) == ("table-2", 3, 1)
        assert [hit.id for hit in stub.Search(request, timeout=60).hits] == ["c", "b", "a"]
        assert started.command("table")["table"] == str(started.table)
        assert 'interactvlm_batch_items_count{batcher="retrieval"} 3.0' in started.metrics()
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(timeout=60) == 0
