"""A mesh with vertex colours as binary glTF; the same mesh makes the same bytes everywhere."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["painted_glb"]


def painted_glb(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], colours: NDArray[np.floating], *, licence: str
) -> bytes:
    """The file.

    Args:
        vertices: [V, 3], metres, +y up.
        faces: [F, 3].
        colours: [V, 3], sRGB in [0, 1]; glTF keeps them in linear light.
        licence: SPDX identifier, written into the file.
    """
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    painted = np.full((len(vertices), 4), 255, dtype=np.uint8)
    painted[:, :3] = np.round(linear * 255)
    index_type = np.uint16 if len(vertices) < 2**16 else np.uint32
    chunks = [vertices.astype("<f4").tobytes(), painted.tobytes(), faces.astype(index_type).tobytes()]
    offsets = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    views = [
        {"buffer": 0, "byteOffset": int(start), "byteLength": len(chunk)}
        for start, chunk in zip(offsets, chunks, strict=False)
    ]
    low, high = vertices.astype(np.float32).min(axis=0), vertices.astype(np.float32).max(axis=0)

    def accessor(view: int, component: int, count: int, kind: str) -> dict[str, Any]:
        return {"bufferView": view, "componentType": component, "count": count, "type": kind}

    tree = {
        "asset": {"version": "2.0", "generator": "interactvlm", "copyright": licence},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}]}],
        # Without a material of its own a glTF surface is a mirror of polished metal: black in most viewers.
        "materials": [{"doubleSided": True, "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}}],
        "accessors": [
            accessor(0, 5126, len(vertices), "VEC3") | {"min": low.tolist(), "max": high.tolist()},
            accessor(1, 5121, len(vertices), "VEC4") | {"normalized": True},
            accessor(2, 5123 if index_type is np.uint16 else 5125, faces.size, "SCALAR"),
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": int(offsets[-1])}],
    }
    head, body = json.dumps(tree, separators=(",", ":")).encode(), b"".join(chunks)
    head += b" " * (-len(head) % 4)
    body += b"\0" * (-len(body) % 4)

    def word(number: int) -> bytes:
        return number.to_bytes(4, "little")

    total = 12 + 8 + len(head) + 8 + len(body)
    return b"glTF" + word(2) + word(total) + word(len(head)) + b"JSON" + head + word(len(body)) + b"BIN\0" + body
