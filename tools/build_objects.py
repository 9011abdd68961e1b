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

sys.path.insert(0, str(Path(__file__).parents[1]))
from interactvlm.geometry.glb_bytes import painted_glb
from interactvlm.objects.categories import CATEGORIES
from tools.object_anchors import KINDS, anchors_of
from tools.object_entries import ENTRIES, EXCLUDED
from tools.object_models import decimated, read_records, read_surface

ARCHIVE_SHA256 = "7ef093fe70cedbb160bdb532d86a84580459635e34130c16777f549eba1993dc"
SOURCE = "Debian sweethome3d-furniture 1.8-1, BlendSwap-CC-0.sh3f"


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
        content = painted_glb(vertices, faces, colours, licence="CC0-1.0")
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
