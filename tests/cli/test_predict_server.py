"""`predict --server`: what the options say, what a server's refusal looks like, nothing half-written."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import aio
from PIL import Image

from interactvlm.types import Task
from interactvlm.v1 import contact_service_pb2 as pb
from interactvlm.v1 import contact_service_pb2_grpc, types_pb2
from interactvlm.wire import encode_prediction
from tests.client.stub_contact_service import Stub, abort, make_prediction, make_status

Run = Callable[..., Any]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.effect_noise((64, 48), 40).convert("RGB").save(path)
    return path


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def address(stub: Stub) -> Iterator[str]:
    """The stub on a thread, as the command occupies this one."""
    ready, port, loop = threading.Event(), 0, asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        nonlocal port
        server = aio.server()
        contact_service_pb2_grpc.add_ContactServiceServicer_to_server(stub, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready.set()
        await over.wait()
        await server.stop(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield f"127.0.0.1:{port}"
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def _assert_refused(finished: Any, code: int, text: str, out: Path) -> None:
    assert finished.code == code, finished.err
    errors = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, finished.err
    assert text in errors[0]
    assert "Traceback" not in finished.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--server", "nowhere"], "must be HOST:PORT"),
        (["--server", "127.0.0.1:1", "--model", "nano"], "--model: is chosen where the server starts"),
        (["--server", "127.0.0.1:1", "--vision-tower", "x"], "--vision-tower: is chosen"),
        (["--server", "127.0.0.1:1", "--config", "x.toml"], "--config: is chosen"),
        (["--token-file", "token"], "--token-file: goes with --server"),
        (["--ca", "ca.pem"], "--ca: goes with --server"),
        (["--server", "contacts.example:50051", "--token-file", "t"], "unencrypted"),
        (["--server", "127.0.0.1:1", "--certificate", "c.pem"], "go together"),
        (["--server", "127.0.0.1:1", "--ca", "none.pem"], "cannot be read"),
        (["--server", "127.0.0.1:1", "--task", "semantic"], "at least one object name"),
    ],
)
def test_options_that_do_not_fit(
    run_command: Run, photo: Path, tmp_path: Path, arguments: list[str], text: str
) -> None:
    out = tmp_path / "out"
    _assert_refused(run_command("predict", photo, "--out", out, *arguments), 2, text, out)


def test_nobody_there(run_command: Run, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished = run_command("predict", photo, "--out", out, "--server", "127.0.0.1:1")
    _assert_refused(finished, 5, "127.0.0.1:1 cannot be reached", out)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 5),
        (grpc.StatusCode.UNAUTHENTICATED, 5),
        (grpc.StatusCode.INTERNAL, 5),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 4),
    ],
)
def test_a_refusal_is_one_sentence(
    run_command: Run, photo: Path, tmp_path: Path, stub: Stub, address: str, code: grpc.StatusCode, exit_code: int
) -> None:
    async def refuse(_: Any, context: Any) -> None:
        await abort(context, make_status(code, "no: this once", error_details_pb2.ErrorInfo(reason="ANY")))

    stub.on_predict = refuse
    out = tmp_path / "out"
    finished = run_command("predict", photo, "--out", out, "--server", address)
    _assert_refused(finished, exit_code, "no: this once", out)


def test_the_time_limit_goes_along(run_command: Run, photo: Path, tmp_path: Path, stub: Stub, address: str) -> None:
    async def linger(*_: Any) -> None:
        await asyncio.sleep(60)

    stub.on_predict = linger
    out = tmp_path / "out"
    finished = run_command("predict", photo, "--out", out, "--server", address, "--timeout", "0.5")
    _assert_refused(finished, 4, "gave no answer in time", out)


def test_partial_answers_are_written_and_told(
    run_command: Run, photo: Path, tmp_path: Path, stub: Stub, address: str
) -> None:
    async def answer(*_: Any) -> pb.PredictResponse:
        response = encode_prediction(make_prediction("cup", vertices=10066), dense=True)
        error = make_status(grpc.StatusCode.UNAVAILABLE, "no replica holds it")
        response.results.add(task=types_pb2.TASK_OBJECT, object_name="cup", error=error)
        return response

    stub.on_predict = answer
    out = tmp_path / "out"
    finished = run_command("predict", photo, "--object", "cup", "--out", out, "--server", address, "--json")
    assert finished.code == 1
    document = json.loads(finished.out)
    assert [result["task"] for result in document["results"]] == [Task.SEMANTIC.value]
    assert any("object cup" in notice and "no replica holds it" in notice for notice in document["notices"])
    assert (out / "photo.json").is_file()
    assert (out / "photo.png").is_file()


def test_an_interrupted_command_cancels_its_call(photo: Path, tmp_path: Path, stub: Stub, address: str) -> None:
    async def linger(*_: Any) -> None:
        await asyncio.sleep(60)

    stub.on_predict = linger
    # Under a shell's background job SIGINT is ignored from the start.
    code = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from interactvlm.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", str(photo), "--out", str(tmp_path / "out"), "--server", address]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not stub.requests:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    deadline = time.monotonic() + 20
    while not stub.cancelled.is_set():
        assert time.monotonic() < deadline
        time.sleep(0.05)
