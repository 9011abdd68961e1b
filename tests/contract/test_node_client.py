"""Another language calls the public API, with nothing but protos/ and Google's own protos."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc import aio
from PIL import Image

from interactvlm.client.meshes import upload_messages
from interactvlm.geometry.mesh import Mesh
from interactvlm.v1 import contact_service_pb2 as pb
from interactvlm.v1 import contact_service_pb2_grpc
from tests.client.stub_contact_service import Stub, abort, make_prediction, make_status
from tools.protos import PROTOS, google_protos

CLIENT = Path(__file__).parent / "node_client"
ITEMS = 7
TRIANGLE = Mesh(vertices=np.eye(3, dtype=np.float32), faces=np.array([[0, 1, 2]], dtype=np.int32))

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="Node is not installed"
)


@pytest.fixture
async def target() -> AsyncIterator[str]:
    """A server that refuses what is no photo, as the real one does."""
    info = error_details_pb2.ErrorInfo(reason="PHOTO_INVALID", domain="interactvlm")
    refusal = make_status(grpc.StatusCode.INVALID_ARGUMENT, "photo: is not readable", info)

    async def check(request: pb.PredictRequest, context: Any) -> None:
        if request.photo == b"no photo":
            await abort(context, refusal)

    server = aio.server()
    contact_service_pb2_grpc.add_ContactServiceServicer_to_server(Stub(on_predict=check, max_in_flight=3), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def _run(*command: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "CI": "1"}
    )
    out, errors = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_a_node_client_understands_every_answer(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules"))
    await _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", cwd=folder)
    Image.effect_noise((64, 48), 40).convert("RGB").save(folder / "photo.png")
    (folder / "mesh.ply").write_bytes(b"".join(message.chunk for message in upload_messages(TRIANGLE)))
    settings = {
        "target": target,
        "includes": [str(PROTOS), str(google_protos(tmp_path / "googleapis"))],
        "token": "a token",
        "photo": "photo.png",
        "mesh": "mesh.ply",
        "items": ITEMS,
    }
    found = json.loads(await _run("node", "client.js", json.dumps(settings), cwd=folder))

    (expected,) = make_prediction("cup").results
    (result,) = found["results"]
    assert (result["task"], result["objectName"], result["surface"]) == ("TASK_SEMANTIC", "cup", "anny")
    assert (result["text"], result["vertexCount"]) == (expected.text, len(expected.probabilities))
    assert result["partsTouched"] == list(expected.parts_touched)
    assert [vertex for vertex, _ in result["vertices"]] == expected.vertex_ids.tolist()
    scores = np.array([score for _, score in result["vertices"]], dtype=np.float32)
    np.testing.assert_array_equal(scores, expected.probabilities[expected.vertex_ids])
    assert found["model"] == "stub"
    assert found["body"]["vertices"][1] == 3
    assert found["body"]["parts"] == 15
    assert found["mesh"] == {"sha256": TRIANGLE.content_hash, "vertexCount": 3}
    assert found["refusal"] == {"code": 3, "message": "photo: is not readable", "reason": "PHOTO_INVALID"}
    assert found["stream"]["limit"] == 3
    assert set(found["stream"]["outcomes"]) == {f"item-{number}" for number in range(ITEMS + 1)}
    assert found["stream"]["outcomes"].pop(f"item-{ITEMS}")["code"] == 3
    assert {outcome["text"] for outcome in found["stream"]["outcomes"].values()} == {expected.text}
