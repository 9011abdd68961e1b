"""Inputs that nobody should send: valid messages, photos and meshes, damaged in every way that a seed can name."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.descriptor import MethodDescriptor
from PIL import Image

from interactvlm.v1 import batch_service_pb2, contact_service_pb2, types_pb2
from tests.reliability.load import make_photo, request

__all__ = ["METHODS", "Fuzzed", "fuzzed_inputs"]

METHODS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for module in (contact_service_pb2, batch_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_PREDICT, _UPLOAD = (f"/interactvlm.v1.ContactService/{name}" for name in ("Predict", "UploadMesh"))
_CHUNK = 2**20
_SHA = "0123456789abcdef" * 4
_CUBE = "".join(f"v {x} {y} {z}\n" for x in (0, 0.4) for y in (0, 0.5) for z in (0, 0.6)) + "".join(
    f"f {a} {b} {c}\nf {a} {c} {d}\n"
    for a, b, c, d in ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4))
)
#: Texts that readers of numbers choke on, or believe.
_NUMBERS = [b"nan", b"inf", b"-inf", b"1e308", b"-1", b"0", b"4294967295", b"9" * 400, b"1e-400", b"0x10", b"\xff"]
#: Integers at the edges of their types, little-endian.
_EDGES = [struct.pack("<I", value) for value in (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)]


@dataclass(frozen=True)
class Fuzzed:
    """One call: its messages as bytes, and what was done to it."""

    method: str
    messages: tuple[bytes, ...]
    origin: str


def fuzzed_inputs(seed: int, count: int) -> Iterator[Fuzzed]:
    """`count` inputs, the same for the same seed."""
    kinds: list[Callable[[random.Random], Fuzzed]] = [_fuzzed_message, _fuzzed_photo, _fuzzed_mesh]
    for number in range(count):
        yield kinds[number % len(kinds)](random.Random(f"{seed}/{number}"))


def _fuzzed_message(chance: random.Random) -> Fuzzed:
    name = chance.choice(sorted(METHODS))
    valid = _valid_message(name)
    origin, data = (
        _damaged(valid, chance) if chance.random() < 0.8 else ("noise", chance.randbytes(chance.randrange(300)))
    )
    if chance.random() < 0.1:  # deeply nested groups and lengths that lie
        origin, data = "nested", bytes([chance.choice([0x0B, 0x1B, 0x0A, 0x1A, 0x12])]) * chance.randrange(1, 20_000)
    messages = (data, valid) if METHODS[name].client_streaming and chance.random() < 0.5 else (data,)
    return Fuzzed(name, messages, f"message {origin}")


def _fuzzed_photo(chance: random.Random) -> Fuzzed:
    kind = chance.choice(sorted(_PHOTOS))
    origin, photo = _damaged(_PHOTOS[kind], chance)
    asked = request(photo)
    if chance.random() < 0.1:
        asked.person.CopyFrom(types_pb2.PersonSelector(largest=True))
    return Fuzzed(_PREDICT, (asked.SerializeToString(),), f"{kind} photo {origin}")


def _fuzzed_mesh(chance: random.Random) -> Fuzzed:
    kind = chance.choice(sorted(_MESHES))
    origin, data = _damaged(_MESHES[kind], chance)
    declared = kind if chance.random() < 0.9 else chance.choice(sorted(_MESHES))
    messages = [
        contact_service_pb2.UploadMeshRequest(file_type="" if start else declared, chunk=data[start : start + _CHUNK])
        for start in range(0, max(len(data), 1), _CHUNK)
    ]
    return Fuzzed(_UPLOAD, tuple(m.SerializeToString() for m in messages), f"{kind} mesh as {declared} {origin}")


def _damaged(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """One to four damages on top of one another."""
    names = []
    for _ in range(chance.choice([1, 1, 2, 4])):
        name = chance.choice(sorted(_DAMAGES))
        data = _DAMAGES[name](data, chance)
        names.append(name)
    return "+".join(names), data[: 4 * _CHUNK]


def _place(data: bytes, chance: random.Random) -> int:
    """A position, the header's far more often than its length deserves."""
    return chance.randrange(min(len(data), 64) if chance.random() < 0.5 else len(data)) if data else 0


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 3, 30])):
        if changed:
            changed[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _edge(data: bytes, chance: random.Random) -> bytes:
    at, value = _place(data, chance), chance.choice(_EDGES)
    return data[:at] + (value if chance.random() < 0.5 else value[::-1]) + data[at + 4 :]


def _number(data: bytes, chance: random.Random) -> bytes:
    """Another number where a text holds one."""
    places = [at for at, byte in enumerate(data) if 0x30 <= byte <= 0x39]
    if not places:
        return _flip(data, chance)
    begin = end = chance.choice(places)
    while end < len(data) and data[end : end + 1] in b"0123456789.-e":
        end += 1
    return data[:begin] + chance.choice(_NUMBERS) + data[end:]


def _swap(data: bytes, chance: random.Random) -> bytes:
    a, b = sorted((_place(data, chance), _place(data, chance)))
    return data[:a] + data[b:] + data[a:b]


_DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": _flip,
    "edge": _edge,
    "number": _number,
    "cut": lambda data, chance: data[: _place(data, chance)],
    "repeat": lambda data, chance: data * chance.choice([2, 3, 50]),
    "insert": lambda data, chance: (lambda at: data[:at] + chance.randbytes(8) + data[at:])(_place(data, chance)),
    "swap": _swap,
    "pad": lambda data, chance: data + bytes(chance.choice([1, 1000, 2**20])),
}


def _valid_message(method: str) -> bytes:
    known: dict[str, Any] = {
        "Predict": request(
            make_photo(),
            request_id="8d8ac610-566d-4ef0-9c22-186b2a5ed793",
            objects=[{"name": "chair", "mesh_sha256": _SHA}, {"name": "table"}],
            tasks=[1, 2, 3],
            checkpoint_sha256=_SHA,
        ),
        "GetMesh": contact_service_pb2.GetMeshRequest(name=f"meshes/{_SHA}"),
        "DeleteMesh": contact_service_pb2.DeleteMeshRequest(name=f"meshes/{_SHA}"),
        "GetBody": contact_service_pb2.GetBodyRequest(name="bodies/anny"),
        "UploadMesh": contact_service_pb2.UploadMeshRequest(file_type="obj", chunk=_CUBE.encode()),
        "Reconstruct": contact_service_pb2.ReconstructRequest(photo=make_photo(), object={"name": "chair"}),
    }
    known["PredictStream"] = contact_service_pb2.PredictStreamRequest(item_id="1", request=known["Predict"])
    message = known.get(METHODS[method].name)
    data: bytes = b"\x0a\x05jobs/" if message is None else message.SerializeToString()
    return data


def _photos() -> dict[str, bytes]:
    picture = Image.open(io.BytesIO(make_photo()))
    found = {}
    for kind in ("PNG", "JPEG", "WEBP", "BMP"):
        stream = io.BytesIO()
        picture.save(stream, kind)
        found[kind.lower()] = stream.getvalue()
    return found


def _meshes() -> dict[str, bytes]:
    corners = np.eye(4, 3, dtype="<f4")
    faces = np.array([[0, 1, 2], [1, 2, 3]], dtype="<u4")
    npy = io.BytesIO()
    np.save(npy, corners)
    ply = b"ply\nformat binary_little_endian 1.0\nelement vertex 4\n"
    ply += b"property float x\nproperty float y\nproperty float z\n"
    ply += b"element face 2\nproperty list uchar int vertex_indices\nend_header\n" + corners.tobytes()
    ply += b"".join(b"\x03" + face.tobytes() for face in faces)
    return {
        "obj": _CUBE.encode(),
        "xyz": b"0 0 0\n1 0 0\n0 1 0\n0 0 1\n",
        "npy": npy.getvalue(),
        "ply": ply,
        "glb": _glb(corners.tobytes(), faces.tobytes()),
    }


def _glb(corners: bytes, faces: bytes) -> bytes:
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(corners) + len(faces)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(corners)},
            {"buffer": 0, "byteOffset": len(corners), "byteLength": len(faces)},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0] * 3, "max": [1] * 3},
            {"bufferView": 1, "componentType": 5125, "count": 6, "type": "SCALAR"},
        ],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    binary = corners + faces
    parts = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(parts)) + parts


_PHOTOS, _MESHES = _photos(), _meshes()
