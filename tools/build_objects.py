"""Build `interactvlm/assets/objects/` from the CC0 models of Sweet Home 3D.

    apt-get download sweethome3d-furniture        # Debian package 1.8-1
    dpkg-deb -x sweethome3d-furniture_*.deb furniture
    python tools/build_objects.py furniture/usr/share/sweethome3d/furniture/BlendSwap-CC-0.sh3f

Every model is scaled to the size that its catalogue states, thinned to a few triangles, painted a colour a vertex and
given the places where people meet it. The same input makes the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from interactvlm.objects.categories import CATEGORIES
from tools.object_anchors import KINDS, anchors_of
from tools.object_entries import ENTRIES, EXCLUDED
from tools.object_models import decimated, read_records, read_surface

ARCHIVE_SHA256 = "7ef093fe70cedbb160bdb532d86a84580459635e34130c16777f549eba1993dc"
SOURCE = "Debian sweethome3d-furniture 1.8-1, BlendSwap-CC-0.sh3f"


def glb(vertices: NDArray[np.float64], faces: NDArray[np.int64], colours: NDArray[np.float64]) -> bytes:
    """The mesh as binary glTF with vertex colours, which glTF keeps in linear light."""
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
        "asset": {"version": "2.0", "generator": "interactvlm", "copyright": "CC0-1.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"doubleSided": True, "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}}],
        "accessors": [
            accessor(0, 5126, len(vertices), "VEC3") | {"min": low.tolist(), "max": high.tolist()},
            accessor(1, 5121, len(vertices), "VEC4") | {"normalized": True},
            accessor(2, 5123 if index_type is np.uint16 else 5125, faces.size, "SCALAR"),
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": int(offsets[-1])}],
    }  # fmt: skip
    head, body = json.dumps(tree, separators=(",", ":")).encode(), b"".join(chunks)
    head += b" " * (-len(head) % 4)
    body += b"\0" * (-len(body) % 4)

    def word(number: int) -> bytes:
        return number.to_bytes(4, "little")

    total = 12 + 8 + len(head) + 8 + len(body)
    return b"glTF" + word(2) + word(total) + word(len(head)) + b"JSON" + head + word(len(body)) + b"BIN\0" + body


def build(archive: zipfile.ZipFile, out: Path) -> list[dict[str, Any]]:
    """Write every model below `out`; returns the catalogue's rows, by id."""
    records = read_records(archive)
    unknown = (set(records) ^ (set(ENTRIES) | set(EXCLUDED))) | {
        e.kind for e in ENTRIES.values() if e.kind not in {"", *KINDS}
    }
    unknown |= {e.category for e in ENTRIES.values() if e.category not in {"", *CATEGORIES}}
    if unknown:
        sys.exit(f"catalogue, table, kinds and categories differ: {sorted(unknown)}")
    rows = []
    for object_id, entry in sorted(ENTRIES.items()):
        record = records[object_id]
        surface = read_surface(archive, record.model)
        vertices, faces, colours = decimated(*surface, record, entry.turn)
        content = glb(vertices, faces, colours)
        file = f"{object_id}.glb"
        (out / file).write_bytes(content)
        anchors = anchors_of(vertices, faces, entry.kind)
        if entry.kind and not anchors:
            print(f"{object_id}: no anchor found", file=sys.stderr)
        rows.append({
            "id": object_id,
            "name": record.name,
            "category": entry.category,
            "author": record.author,
            "licence": "CC0-1.0",
            "source": SOURCE,
            "size_m": [round(float(value), 4) for value in np.ptp(vertices, axis=0)],
            "vertices": len(vertices),
            "faces": len(faces),
            "sha256": hashlib.sha256(content).hexdigest(),
            "file": file,
            "anchors": anchors,
        })  # fmt: skip
    return rows


def main() -> None:
    """Command line."""
    default = Path(__file__).parents[1] / "interactvlm" / "assets" / "objects"
    parser = argparse.ArgumentParser(description="Build the embedded object catalogue.")
    parser.add_argument("archive", type=Path, help="BlendSwap-CC-0.sh3f")
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    if hashlib.sha256(arguments.archive.read_bytes()).hexdigest() != ARCHIVE_SHA256:
        sys.exit(f"{arguments.archive} is not the file of package version 1.8-1")
    partial = arguments.out.with_name(arguments.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with zipfile.ZipFile(arguments.archive) as archive:
        rows = build(archive, partial)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    (partial / "catalogue.json").write_text(f'{{"objects":[\n{lines}\n]}}\n', encoding="utf-8")
    shutil.rmtree(arguments.out, ignore_errors=True)
    partial.replace(arguments.out)
    print(f"{len(rows)} objects, {sum(path.stat().st_size for path in arguments.out.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
