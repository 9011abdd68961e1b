"""Requests that nobody should send: valid ones, their bytes or their files damaged; none may be the server's fault."""

from __future__ import annotations

import io
import random
import struct
from typing import Any

import grpc
import numpy as np
import pytest
import trimesh
from PIL import Image

from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.wire import to_tensor

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 300
ANSWERS = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
_EDGES = [struct.pack("<I", value) for value in (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)]
_SEARCH, _DOWNLOAD = (f"/interactvlm.v1.RetrievalService/{name}" for name in ("Search", "DownloadMesh"))
_REMOVE = "/interactvlm.v1.RetrievalAdminService/RemoveMeshes"


def _png(mode: str, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def _valid() -> dict[str, tuple[str, Any]]:
    """(method, message) by kind."""
    box = trimesh.creation.box((1, 1, 1))
    points = np.random.default_rng(0).random((30, 6)).astype(np.float32)
    common: dict[str, Any] = {"categories": ["cup"], "licences": ["CC0-1.0"], "max_faces": 5, "limit": 3}
    region = {"left": 3, "top": 2, "right": 20, "bottom": 20}
    searches = {
        "text": pb.SearchRequest(text="cup", min_extent_metres=0.1, max_extent_metres=3, **common),
        "embedding": pb.SearchRequest(embedding=to_tensor(np.ones(3, np.float32)), **common),
        "points": pb.SearchRequest(points=to_tensor(points)),
        "crop": pb.SearchRequest(crop=_png("RGB", (40, 30)), box=region, mask_png=_png("L", (40, 30)), **common),
        **{
            f"mesh {kind}": pb.SearchRequest(mesh=pb.MeshFile(file_type=kind, content=_file(box, kind)))
            for kind in ("glb", "ply", "obj")
        },
    }
    others: dict[str, tuple[str, Any]] = {
        "download": (_DOWNLOAD, pb.DownloadMeshRequest(mesh_sha256="a" * 64)),
        "removal": (_REMOVE, pb.RemoveMeshesRequest(ids=["a"], shared=True)),
    }
    return {name: (_SEARCH, message) for name, message in searches.items()} | others


def _file(mesh: trimesh.Trimesh, kind: str) -> bytes:
    content = mesh.export(file_type=kind)
    return content.encode() if isinstance(content, str) else bytes(content)


def _damaged(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(min(len(data), 64) if chance.random() < 0.5 else len(data)) if data else 0
        match chance.randrange(5):
            case 0:
                data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :] if data else data
            case 1:
                data = data[:at] + chance.choice(_EDGES) + data[at + 4 :]
            case 2:
                data = data[:at]
            case 3:
                data = data[:at] + chance.randbytes(8) + data[at:]
            case 4:
                data = data * chance.choice([2, 3])
    return data


def _fuzzed(chance: random.Random, valid: dict[str, tuple[str, Any]]) -> tuple[str, str, bytes]:
    """(origin, method, bytes): the message's own bytes damaged, or the file in it."""
    name = chance.choice(sorted(valid))
    method, template = valid[name]
    message = type(template)()
    message.CopyFrom(template)
    inside = chance.random() < 0.6
    if inside and name.startswith("mesh"):
        message.mesh.content = _damaged(message.mesh.content, chance)
    elif inside and name == "crop":
        field = chance.choice(["crop", "mask_png"])
        setattr(message, field, _damaged(getattr(message, field), chance))
    elif inside and name in ("points", "embedding"):
        tensor = getattr(message, name)
        if chance.random() < 0.5:
            tensor.data = _damaged(tensor.data, chance)
        else:
            tensor.shape[chance.randrange(len(tensor.shape))] = chance.choice([-1, 0, 1, 2**31, 2**62, 10**8])
    else:
        return name, method, _damaged(message.SerializeToString(), chance)
    return f"{name}'s file", method, message.SerializeToString()


async def test_nothing_sent_is_the_servers_fault(toy: Any) -> None:
    valid, ended = _valid(), set()
    calls = {method: toy.channel.unary_unary(method) for method in (_SEARCH, _REMOVE)}
    for number in range(COUNT):
        origin, method, data = _fuzzed(random.Random(number), valid)
        try:
            if method == _DOWNLOAD:
                await toy.channel.unary_stream(method)(data, timeout=30).read()
            else:
                await calls[method](data, timeout=30)
            code, details = "OK", ""
        except grpc.aio.AioRpcError as error:
            code, details = error.code().name, error.details()
        assert code in ANSWERS, f"seed {number}, {origin}: {code} {details}"
        ended.add(code)
    assert ended >= {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION"}
    assert (await toy.stub.Search(pb.SearchRequest(text="cup"), timeout=30)).hits[0].id == "mug"
