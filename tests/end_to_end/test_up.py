"""Real processes on loopback: `interactvlm up` with TLS and tokens, asked by the command and by the client."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactvlm.client import Client, Endpoint, Outcome, PhotoRequest, ServerError, Tls
from interactvlm.results import read_prediction
from interactvlm.types import Prediction, Task
from tests.client.authority import Authority

PHOTO = Path(__file__).parents[2] / "examples" / "sitting.jpg"
COMMAND = [sys.executable, "-c", "from interactvlm.cli import main; main()"]
TOKEN = "a token of the test"
CLOSE = 1e-5

CUBE = "".join(f"v {x} {y} {z}\n" for x in (0, 0.4) for y in (0, 0.5) for z in (0, 0.6)) + "".join(
    f"f {a} {b} {c}\nf {a} {c} {d}\n"
    for a, b, c, d in ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4))
)


@dataclass(frozen=True)
class Deployment:
    address: str
    pids: dict[str, int]
    process: subprocess.Popen[str]
    ca: Path
    token_file: Path

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, tls=Tls(self.ca), token_file=self.token_file)


@pytest.fixture(scope="module")
def deployment(nano_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    authority = Authority(folder, "authority")
    certificate, key = authority.issue("server")
    tokens, token_file, settings = folder / "tokens.toml", folder / "token", folder / "orchestrator.toml"
    token_file.write_text(TOKEN)
    tokens.write_text(
        f'[[tokens]]\nsha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"\nowner = "alice"\n'
        'scopes = ["contact", "retrieval"]\n'
    )
    settings.write_text(
        f'[server]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\ntokens_file = "{tokens}"\n'
        f'[meshes]\nfolder = "{folder / "meshes"}"\n'
    )
    errors = folder / "up.txt"
    with errors.open("w") as stream:
        process = subprocess.Popen(
            [*COMMAND, "up", "--port", "0", "--json", "--orchestrator", settings, "--logs", folder / "logs"],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            cwd=folder,
            env={**os.environ, "INTERACTVLM_PREPARE_VIEWS": "false"},
        )
    try:
        assert process.stdout is not None
        text = ""
        while not text.rstrip().endswith("\n}"):
            line = process.stdout.readline()
            assert line, errors.read_text()
            text += line
        announced = json.loads(text)
        pids = {entry["name"]: entry["pid"] for entry in announced["processes"]}
        yield Deployment(announced["address"], pids, process, authority.ca, token_file)
    finally:
        process.terminate()
        process.communicate(timeout=120)


def _predict(out: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "predict", str(PHOTO), "--out", str(out), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def _assert_same(found: Prediction, expected: Prediction) -> None:
    """The same result in the sense of the design: timings aside, scores within 1e-5, ids likewise."""
    for name in ("photo_sha256", "photo_size", "model", "region", "person", "notices", "failures"):
        assert getattr(found, name) == getattr(expected, name)
    assert len(found.results) == len(expected.results)
    for one, other in zip(found.results, expected.results, strict=True):
        for name in ("task", "object_name", "surface", "text", "parts_named", "affordance", "contact_token"):
            assert getattr(one, name) == getattr(other, name)
        assert one.threshold == pytest.approx(other.threshold, abs=1e-7)
        assert one.confidence == pytest.approx(other.confidence, abs=CLOSE)
        np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=0, atol=CLOSE)
        differing = np.setxor1d(one.vertex_ids, other.vertex_ids)
        assert (np.abs(other.probabilities[differing] - other.threshold) <= CLOSE).all()


def test_the_server_answers_what_the_command_answers_in_process(deployment: Deployment, tmp_path: Path) -> None:
    cube = tmp_path / "cube.obj"
    cube.write_text(CUBE)
    question = ["--object", "chair", "--mesh", f"chair={cube}"]
    question += [word for task in Task for word in ("--task", task.value)]
    access = ["--server", deployment.address, "--ca", deployment.ca, "--token-file", deployment.token_file]
    remote, local = tmp_path / "remote", tmp_path / "local"
    for out, arguments in ((remote, access), (local, [])):
        finished = _predict(out, *question, *arguments)
        assert finished.returncode == 0, finished.stderr
    assert sorted(path.name for path in remote.iterdir()) == sorted(path.name for path in local.iterdir())
    found, expected = read_prediction(remote / PHOTO.stem), read_prediction(local / PHOTO.stem)
    assert len(found.results) == 4
    _assert_same(found, expected)
    for one, other in zip(found.results, expected.results, strict=True):
        assert one.view_logits is not None
        np.testing.assert_allclose(one.view_logits, other.view_logits, rtol=1e-2, atol=1e-2)


def test_a_stream_answers_as_single_calls_do(deployment: Deployment) -> None:
    with Client(deployment.endpoint) as client:
        single = client.predict(PHOTO, objects=["chair"])
        items = [(str(number), PhotoRequest(PHOTO, objects=["chair"])) for number in range(6)]
        items.append(("bad", PhotoRequest(b"no photo")))
        outcomes: dict[str, Outcome] = {outcome.item_id: outcome for outcome in client.predict_many(items)}
        assert len(outcomes) == 7
        error = outcomes.pop("bad").error
        assert isinstance(error, ServerError)
        assert error.reason == "PHOTO_INVALID"
        for outcome in outcomes.values():
            _assert_same(outcome.unwrap(), single)
        (live,) = client.server_info().models
        assert live.identity == single.model


def test_meshes_are_found_at_the_server_as_in_process(deployment: Deployment, tmp_path: Path) -> None:
    access = ["--server", deployment.address, "--ca", deployment.ca, "--token-file", deployment.token_file]
    documents = []
    for out, arguments in ((tmp_path / "remote", access), (tmp_path / "local", [])):
        command = [*COMMAND, "retrieve", "two sofas", "--top", "3", "--json", "--out", out, *arguments]
        finished = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
        assert {path.name for path in out.iterdir()} == {"two_sofas.png", "two_sofas.glb", "two_sofas.json"}
        documents.append(json.loads(finished.stdout))
    assert (tmp_path / "remote" / "two_sofas.glb").read_bytes() == (tmp_path / "local" / "two_sofas.glb").read_bytes()
    found, expected = ({**document, "files": []} for document in documents)
    assert found == expected
    assert [hit["category"] for hit in found["hits"]] == ["couch"] * 3


def test_without_the_token_nobody_is_answered(deployment: Deployment, tmp_path: Path) -> None:
    finished = _predict(tmp_path / "out", "--server", deployment.address, "--ca", deployment.ca)
    assert finished.returncode == 5
    assert "error: " in finished.stderr
    assert "token" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "out").exists()


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_everything_stops_cleanly(deployment: Deployment) -> None:
    """Last in this file: nothing runs afterwards."""
    deployment.process.send_signal(signal.SIGINT)
    assert deployment.process.wait(timeout=120) == 0
    deadline = time.monotonic() + 10
    remaining: dict[str, Any] = dict(deployment.pids)
    while remaining and time.monotonic() < deadline:
        remaining = {name: pid for name, pid in remaining.items() if not _gone(pid)}
    assert not remaining
