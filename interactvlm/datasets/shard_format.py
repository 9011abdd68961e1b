"""The shards' columns, and samples as rows of them.

One row is one `ContactSample`. Surfaces are stored once a folder, under their content hash, and referred to. Version 1:
a reader refuses any other.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interactvlm.datasets.sample import ContactSample, HumanContact, ObjectContact, TextAnswer
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.types import Box, Task

__all__ = ["SCHEMA", "SCHEMA_VERSION", "decode_surface", "encode_surface", "from_row", "surface_key", "to_row"]

#: Written into every shard's metadata as `interactvlm_schema`.
SCHEMA_VERSION = 1

_HUMAN = pa.struct(
    [
        ("task", pa.string()),
        ("object_name", pa.string()),
        ("vertex_ids", pa.list_(pa.int32())),
        ("topology", pa.string()),
        ("category", pa.string()),
    ]
)
_OBJECT = pa.struct(
    [
        ("object_name", pa.string()),
        ("surface", pa.string()),
        ("values", pa.list_(pa.float32())),
        ("affordance", pa.string()),
        ("category", pa.string()),
    ]
)
_TEXT = pa.struct([("field", pa.string()), ("question", pa.string()), ("answer", pa.string())])
_GEOMETRY = pa.struct(
    [
        ("masks", pa.binary()),  # PNG, 8 bits: 0 background, people and then objects from 1 on
        ("depth", pa.binary()),  # PNG, 16 bits, millimetres, a quarter of the size, 0 for far away
        ("focal", pa.float64()),
        ("rotation", pa.list_(pa.float64(), 9)),
        ("translation", pa.list_(pa.float64(), 3)),
        ("people", pa.int32()),
        ("names", pa.list_(pa.string())),
        ("sources", pa.list_(pa.string())),
        ("poses", pa.list_(pa.float64())),
    ]
)

SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("photo", pa.binary()),
        ("person", pa.list_(pa.float64())),
        ("human", pa.list_(_HUMAN)),
        ("objects", pa.list_(_OBJECT)),
        ("texts", pa.list_(_TEXT)),
        ("tags", pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))),
        ("geometry", _GEOMETRY),
    ],
    metadata={"interactvlm_schema": str(SCHEMA_VERSION)},
)
"""Columns of version 1; "geometry" is null where a source knows none."""


def to_row(sample: ContactSample, geometry: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A sample as a row; its surfaces are stored apart under `surface_key`."""
    person = sample.person
    return {
        "sample_id": sample.sample_id,
        "photo": sample.photo,
        "person": None if person is None else [person.left, person.top, person.right, person.bottom],
        "human": [
            {
                "task": contact.task.value,
                "object_name": contact.object_name,
                "vertex_ids": contact.vertex_ids.astype(np.int32),
                "topology": contact.topology,
                "category": contact.category,
            }
            for contact in sample.human
        ],
        "objects": [
            {
                "object_name": item.object_name,
                "surface": surface_key(item.surface),
                "values": item.values.astype(np.float32),
                "affordance": item.affordance,
                "category": item.category,
            }
            for item in sample.objects
        ],
        "texts": [{"field": t.field, "question": t.question, "answer": t.answer} for t in sample.texts],
        "tags": [{"key": key, "value": value} for key, value in sorted(sample.tags.items())],
        "geometry": geometry,
    }


def from_row(row: Mapping[str, Any], surfaces: Mapping[str, Mesh | PointCloud]) -> ContactSample:
    """The sample of a row.

    Args:
        row: as pyarrow gives it to Python.
        surfaces: by key, at least those that the row names.
    """
    return ContactSample(
        sample_id=row["sample_id"],
        photo=row["photo"],
        person=None if row["person"] is None else Box(*row["person"]),
        human=tuple(
            HumanContact(
                Task(contact["task"]),
                contact["object_name"],
                np.array(contact["vertex_ids"], dtype=np.int32),
                contact["topology"],
                contact["category"],
            )
            for contact in row["human"]
        ),
        objects=tuple(
            ObjectContact(
                item["object_name"],
                surfaces[item["surface"]],
                np.array(item["values"], dtype=np.float32),
                item["affordance"],
                item["category"],
            )
            for item in row["objects"]
        ),
        texts=tuple(TextAnswer(text["field"], text["question"], text["answer"]) for text in row["texts"]),
        tags={tag["key"]: tag["value"] for tag in row["tags"]},
    )


def surface_key(surface: Mesh | PointCloud) -> str:
    """Sha256, hex, of geometry and colours: what a stored surface is found by."""
    colours = surface.vertex_colors if isinstance(surface, Mesh) else None
    if colours is None:
        return surface.content_hash
    return hashlib.sha256(surface.content_hash.encode() + colours.tobytes()).hexdigest()


def encode_surface(surface: Mesh | PointCloud) -> bytes:
    """A surface as the bytes of an npz file, equal for equal surfaces."""
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(surface, Mesh):
        arrays["vertices"], arrays["faces"] = surface.vertices, surface.faces
        if surface.vertex_colors is not None:
            arrays["vertex_colors"] = surface.vertex_colors
    else:
        arrays["points"] = surface.xyz
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def decode_surface(data: bytes) -> Mesh | PointCloud:
    """The surface of `encode_surface`.

    Raises:
        OSError, ValueError, KeyError: the bytes are no such file.
        MeshError: they hold no valid surface.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        if "points" in arrays:
            return PointCloud(arrays["points"])
        colours = arrays.get("vertex_colors", None)
        return Mesh(arrays["vertices"], arrays["faces"], colours)
