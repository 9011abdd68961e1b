"""What a mesh file declares, checked and reduced to plain geometry before a parser may allocate for it.

Each function takes the file's bytes and returns the bytes that the parser is given. References to other files
(materials, textures, external buffers) do not survive, so no parser ever has anything to resolve.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from interactvlm.errors import MeshError

__all__ = ["MeshLimits", "check_glb", "check_obj", "check_ply"]


@dataclass(frozen=True, slots=True)
class MeshLimits:
    """How large a file may be.

    Attributes:
        max_bytes: of the file.
        max_vertices: vertices or points, after instancing.
        max_faces: triangles, after instancing.
    """

    max_bytes: int = 64 * 2**20
    max_vertices: int = 1_000_000
    max_faces: int = 2_000_000


_MAX_PLY_HEADER = 64 * 2**10
_MAX_GLB_NODES = 10_000
#: An integer that int() takes: not "--1", not thousands of digits.
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_PLY_SIZES = {
    "char": 1, "uchar": 1, "int8": 1, "uint8": 1, "short": 2, "ushort": 2, "int16": 2, "uint16": 2,
    "int": 4, "uint": 4, "int32": 4, "uint32": 4, "float": 4, "float32": 4, "double": 8, "float64": 8,
}  # fmt: skip


def check_ply(field: str, data: bytes, limits: MeshLimits) -> bytes:
    """Check a PLY header against `limits` and against the bytes that follow it.

    Raises:
        MeshError: no PLY header, counts beyond the limits, or fewer bytes than the header declares.
    """
    end = re.search(rb"\nend_header[ \t]*\r?\n", data[:_MAX_PLY_HEADER])
    if not data.startswith(b"ply") or end is None:
        raise MeshError(field, "is not a PLY file: no header from 'ply' to 'end_header'")
    ascii_body = False
    least = 0
    rows = 0
    lines = data[: end.start()].decode("ascii", "replace").splitlines()
    count = 0
    for words in filter(None, (line.split() for line in lines[1:])):
        if words[0] == "format":
            ascii_body = words[1:2] == ["ascii"]
        elif words[0] == "element":
            if len(words) != 3 or words[2].startswith("-") or not _INTEGER.fullmatch(words[2]):
                raise MeshError(field, f"has a malformed PLY header line {' '.join(words)[:60]!r}")
            count = int(words[2])
            limit = {"vertex": limits.max_vertices, "face": limits.max_faces}.get(words[1], limits.max_faces)
            if count > limit:
                raise MeshError(field, f"declares {count} of element {words[1]!r}; the limit is {limit}")
            rows += count
        elif words[0] == "property":
            # A list takes at least its length field.
            first = words[2] if words[1:2] == ["list"] and len(words) == 5 else "".join(words[1:2])
            size = _PLY_SIZES.get(first)
            if len(words) not in (3, 5) or size is None:
                raise MeshError(field, f"has a malformed PLY header line {' '.join(words)[:60]!r}")
            least += count * size
    body = data[end.end() :]
    if ascii_body and len(body.splitlines()) < rows:
        raise MeshError(field, f"is truncated: {rows} rows are declared, {len(body.splitlines())} follow the header")
    if not ascii_body and len(body) < least:
        raise MeshError(field, f"is truncated: the header declares at least {least} bytes, {len(body)} follow it")
    kept = [line for line in data[: end.start()].splitlines() if not line.startswith((b"comment", b"obj_info"))]
    return b"\n".join(kept) + b"\nend_header\n" + body


def check_obj(field: str, data: bytes, limits: MeshLimits) -> bytes:
    """Keep an OBJ's vertices and faces, in order, as `v` and `f` lines with vertex indices only.

    Raises:
        MeshError: no vertex or face lines, more than the limits, or an index that is no vertex.
    """
    text = data.decode("utf-8", "replace").replace("\\\r\n", " ").replace("\\\n", " ")
    vertices: list[str] = []
    faces: list[str] = []
    triangles = highest = 0
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] not in ("v", "f"):
            continue
        if words[0] == "v":
            if len(words) not in (4, 5, 7, 8):
                raise MeshError(field, f"has a malformed vertex line {line[:60]!r}")
            vertices.append(" ".join(words if len(words) != 5 else words[:4]))
            continue
        corners = []
        for word in words[1:]:
            corner = word.split("/", 1)[0]
            number = int(corner) if _INTEGER.fullmatch(corner) else 0
            if number == 0:
                raise MeshError(field, f"has a malformed face line {line[:60]!r}")
            # Negative: counted back from the latest vertex.
            index = number if number > 0 else len(vertices) + number + 1
            if index < 1:
                raise MeshError(field, f"has a face that names vertex {corner} where {len(vertices)} are defined")
            corners.append(index)
        if len(corners) < 3:
            raise MeshError(field, f"has a face of {len(corners)} corners: {line[:60]!r}")
        # Fans, as triangulated by everyone; one line a triangle keeps the parser on its fast path.
        faces += [f"f {corners[0]} {a} {b}" for a, b in pairwise(corners[1:])]
        triangles += len(corners) - 2
        highest = max(highest, *corners)
        if triangles > limits.max_faces:
            raise MeshError(field, f"has more than {limits.max_faces} triangles, the limit")
    if not vertices:
        raise MeshError(field, "is not an OBJ mesh: it has no vertex lines")
    if len(vertices) > limits.max_vertices:
        raise MeshError(field, f"has {len(vertices)} vertices; the limit is {limits.max_vertices}")
    if not faces:
        raise MeshError(field, "has no faces")
    if highest > len(vertices):
        raise MeshError(field, f"has a face that names vertex {highest}; its vertices are 1 to {len(vertices)}")
    return "\n".join([*vertices, *faces, ""]).encode()


def check_glb(field: str, data: bytes, limits: MeshLimits) -> bytes:
    """Check a binary glTF's structure and counts; drop its materials, textures, animations, skins and cameras.

    Raises:
        MeshError: not a GLB 2 file, truncated, refers to other files, needs an extension, declares counts beyond the
            limits or beyond its own buffer, or its nodes are no forest.
    """
    document, binary = _glb_chunks(field, data)
    try:
        _check_gltf(field, document, len(binary), limits)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise MeshError(field, f"has a malformed glTF structure ({type(error).__name__}: {error})") from error
    kept: dict[str, Any] = {
        key: document[key]
        for key in ("asset", "scene", "scenes", "nodes", "accessors", "bufferViews")
        if key in document
    }
    kept["buffers"] = [{"byteLength": len(binary)}]
    kept["meshes"] = [
        {
            "primitives": [
                {key: primitive[key] for key in ("attributes", "indices", "mode") if key in primitive}
                for primitive in mesh["primitives"]
            ]
        }
        for mesh in document["meshes"]
    ]
    kept["nodes"] = [
        {k: node[k] for k in ("children", "mesh", "matrix", "translation", "rotation", "scale") if k in node}
        for node in document.get("nodes", [])
    ]
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _glb_chunks(field: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) < 20 or data[:4] != b"glTF":
        raise MeshError(field, "is not a GLB file: it does not start with 'glTF'")
    version, total = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise MeshError(field, f"is glTF version {version}; only 2 is read")
    if total > len(data):
        raise MeshError(field, f"is truncated: {total} bytes are declared, {len(data)} are there")
    chunks: dict[bytes, bytes] = {}
    offset = 12
    while offset + 8 <= total:
        size, kind = struct.unpack_from("<I4s", data, offset)
        if offset + 8 + size > total:
            raise MeshError(field, f"is truncated inside its {kind.decode('ascii', 'replace').strip()!r} chunk")
        chunks.setdefault(kind, data[offset + 8 : offset + 8 + size])
        offset += 8 + size
    try:
        document = json.loads(chunks.get(b"JSON", b""))
    except (ValueError, RecursionError) as error:
        raise MeshError(field, "has no readable JSON chunk") from error
    if not isinstance(document, dict):
        raise MeshError(field, "has a JSON chunk that is no object")
    return document, chunks.get(b"BIN\0", b"")


def _check_gltf(field: str, document: dict[str, Any], buffer_size: int, limits: MeshLimits) -> None:
    if document.get("extensionsRequired"):
        raise MeshError(field, f"needs the glTF extensions {', '.join(map(str, document['extensionsRequired']))[:80]}")
    if not document.get("meshes"):
        raise MeshError(field, "has no mesh")
    buffers = document.get("buffers", [])
    if len(buffers) != 1 or "uri" in buffers[0]:
        raise MeshError(field, "keeps its buffers outside the file; only one embedded buffer is read")
    views = document.get("bufferViews", [])
    for view in views:
        start, size = view.get("byteOffset", 0), view["byteLength"]
        if start < 0 or size < 0 or start + size > buffer_size:
            raise MeshError(field, f"has a buffer view of {size} bytes at {start}; its buffer has {buffer_size}")
    accessors = document.get("accessors", [])
    for accessor in accessors:
        count = accessor["count"]
        if not isinstance(count, int) or not 0 <= count <= 3 * limits.max_faces:
            raise MeshError(field, f"declares an accessor of {count} elements; the limit is {3 * limits.max_faces}")
        if "sparse" in accessor or "bufferView" not in accessor:
            raise MeshError(field, "has a sparse accessor; only plain ones are read")

    def size_of(mesh: dict[str, Any]) -> tuple[int, int]:
        vertices = faces = 0
        for primitive in mesh["primitives"]:
            count = accessors[primitive["attributes"]["POSITION"]]["count"]
            corners = accessors[primitive["indices"]]["count"] if "indices" in primitive else count
            vertices += count
            # Strips and fans make a face of every corner, lists of every third.
            faces += corners // 3 if primitive.get("mode", 4) == 4 else corners
        return vertices, faces

    sizes = [size_of(mesh) for mesh in document["meshes"]]
    nodes = document.get("nodes", [])
    _check_forest(field, nodes)
    instances = [sizes[node["mesh"]] for node in nodes if "mesh" in node] or sizes
    vertices, faces = (sum(values) for values in zip(*instances, strict=True))
    if vertices > limits.max_vertices:
        raise MeshError(field, f"declares {vertices} vertices; the limit is {limits.max_vertices}")
    if faces > limits.max_faces:
        raise MeshError(field, f"declares {faces} faces; the limit is {limits.max_faces}")


def _check_forest(field: str, nodes: list[dict[str, Any]]) -> None:
    """Every node has at most one parent and no node is its own ancestor, so instances cannot multiply or loop."""
    if len(nodes) > _MAX_GLB_NODES:
        raise MeshError(field, f"has {len(nodes)} nodes; the limit is {_MAX_GLB_NODES}")
    parents: dict[int, int] = {}
    for parent, node in enumerate(nodes):
        for child in node.get("children", []):
            if child in parents or not 0 <= child < len(nodes):
                raise MeshError(field, f"has a node {child} with two parents or outside its {len(nodes)} nodes")
            parents[child] = parent
    settled: set[int] = set()
    for start in range(len(nodes)):
        path: set[int] = set()
        current: int | None = start
        while current is not None and current not in settled:
            if current in path:
                raise MeshError(field, f"has a node {current} that is its own ancestor")
            path.add(current)
            current = parents.get(current)
        settled |= path
