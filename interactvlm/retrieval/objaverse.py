"""OpenShape's published table of Objaverse (paper section 5): `objaverse.pt` and its metadata -> a table on disk.

The pickle is read by the confined process, the metadata entry by entry; vectors go into the index some thousand at a
time, so that importing 800,000 x 1280 takes little more memory than the index.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from interactvlm.checkpoints.embedding_table import open_embedding_table
from interactvlm.checkpoints.json_file import parse_json_object
from interactvlm.errors import CheckpointError
from interactvlm.retrieval.json_entries import json_entries
from interactvlm.retrieval.names import table_category
from interactvlm.retrieval.rows import MAX_TEXT, ROW_SCHEMA
from interactvlm.retrieval.vector_table import VectorTable

__all__ = ["Imported", "import_objaverse"]

#: Sketchfab's words for the licences of its models.
_LICENCES = {
    "by": "CC-BY-4.0",
    "by-sa": "CC-BY-SA-4.0",
    "by-nd": "CC-BY-ND-4.0",
    "by-nc": "CC-BY-NC-4.0",
    "by-nc-sa": "CC-BY-NC-SA-4.0",
    "by-nc-nd": "CC-BY-NC-ND-4.0",
    "cc0": "CC0-1.0",
}
_MAX_LABELS_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported.

    Attributes:
        rows: how many.
        described: how many of them the metadata describes.
        labelled: how many of them have a category.
        version: of the table.
    """

    rows: int
    described: int
    labelled: int
    version: int


def import_objaverse(
    embeddings: Path,
    metadata: Path,
    table: Path,
    *,
    labels: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Imported:
    """Add the published table to a table of ours; rows of the same id are replaced.

    Args:
        embeddings: `objaverse.pt`: {us: ids, feats: [N, D]}.
        metadata: `objaverse_meta.json`: {entries: [{u, name, faces, lic, ...}]}; ids it lacks get bare rows.
        table: folder; made where it does not exist.
        labels: `lvis-annotations.json` or `.json.gz`: {category: [ids]}; without it no row has a category.
        progress: told each step, in words.

    Raises:
        CheckpointError: a file is missing, damaged, or asks for code; the disk is full. The table is as before.
        InputError: a vector is not finite or of length 0, or the table holds vectors of another dimension.
    """
    step = progress or (lambda _: None)
    for path in (metadata, *([labels] if labels else [])):  # before minutes of reading the other file
        if not path.is_file():
            raise CheckpointError(path, "does not exist or is no file")
    table.mkdir(parents=True, exist_ok=True)
    with open_embedding_table(embeddings, ids="us", vectors="feats", near=table, progress=step) as published:
        number = {name: index for index, name in enumerate(published.ids)}
        columns: dict[str, Any] = {
            "id": published.ids,
            "category": _categories(labels, number),
            "name": [""] * len(number),
            "licence": [""] * len(number),
            "faces": np.zeros(len(number), np.int32),
            "extent_metres": np.zeros(len(number)),  # Sketchfab's models have no agreed unit
            "mesh_sha256": [""] * len(number),
        }
        step(f"reading {metadata.name}")
        described = _describe(metadata, number, columns)
        rows = pa.table({name: pa.array(columns[name], ROW_SCHEMA.field(name).type) for name in ROW_SCHEMA.names})
        step(f"indexing {len(number)} vectors")
        version = VectorTable(table).add(rows, published.vectors)
    labelled = sum(map(bool, columns["category"]))
    return Imported(len(number), described, labelled, version)


def _describe(metadata: Path, number: dict[str, int], columns: dict[str, Any]) -> int:
    described: set[int] = set()
    for entry in json_entries(metadata):
        row = number.get(str(entry.get("u", "")))
        if row is None:
            continue
        described.add(row)
        columns["name"][row] = " ".join(str(entry.get("name") or "").split())[:MAX_TEXT]
        licence = str(entry.get("lic") or "")
        columns["licence"][row] = _LICENCES.get(licence, licence)[:MAX_TEXT]
        faces = entry.get("faces")
        if type(faces) is int and 0 < faces <= np.iinfo(np.int32).max:
            columns["faces"][row] = faces
    return len(described)


def _categories(labels: Path | None, number: dict[str, int]) -> list[str]:
    categories = [""] * len(number)
    if labels is None:
        return categories
    try:
        with gzip.open(labels) if labels.suffix == ".gz" else labels.open("rb") as file:
            text = file.read(_MAX_LABELS_BYTES + 1)
    except (OSError, EOFError) as error:
        raise CheckpointError(labels, f"cannot be read ({error})") from None
    if len(text) > _MAX_LABELS_BYTES:
        raise CheckpointError(labels, f"has more than {_MAX_LABELS_BYTES} bytes, the limit")
    for label, ids in parse_json_object(text, source=labels).items():
        if not isinstance(ids, list):
            raise CheckpointError(labels, f"must hold a list of ids under {label!r}")
        name = table_category(label)[:MAX_TEXT]
        for one in ids:
            if isinstance(one, str) and one in number:
                categories[number[one]] = name
    return categories
