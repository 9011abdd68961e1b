"""The embedded catalogue: CC0 meshes at metric size with their categories, authors and anchors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.geometry.load import load_mesh
from interactvlm.geometry.mesh import Mesh
from interactvlm.objects.anchors import Anchor, ObjectModel

__all__ = ["CatalogueEntry", "catalogue_model", "load_catalogue", "load_object"]

_LINEAR = np.arange(256) / 255
_SRGB = np.round(255 * np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055)).astype(
    np.uint8
)


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One object of the catalogue.

    Attributes:
        id: unique, stable.
        name: the author's ("Winchester sofa").
        category: canonical category name; "" for things of none, which only stand about.
        author: who made the model, as its catalogue names them.
        licence: "CC0-1.0".
        source: where it was taken from.
        size_m: width (x), height (y), depth (z) in metres.
        vertices: number.
        faces: number.
        sha256: of the file, hex.
        file: name in the catalogue's folder.
        anchors: name -> (position [3], normal [3], direction [3], radius).
    """

    id: str
    name: str
    category: str
    author: str
    licence: str
    source: str
    size_m: tuple[float, float, float]
    vertices: int
    faces: int
    sha256: str
    file: str
    anchors: Mapping[str, Any]


@cache
def load_catalogue() -> tuple[CatalogueEntry, ...]:
    """All entries, by id; the meshes are not read."""
    text = _folder().joinpath("catalogue.json").read_text(encoding="utf-8")
    return tuple(CatalogueEntry(**{**row, "size_m": tuple(row["size_m"])}) for row in json.loads(text)["objects"])


def load_object(object_id: str) -> Mesh:
    """The mesh of an entry, with vertex colours: +y up, +z its front, origin at its bounding box's floor.

    Raises:
        InputError: no such entry, or its file is not the one the catalogue lists.
    """
    entry = _entry(object_id)
    content = _folder().joinpath(entry.file).read_bytes()
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise InputError(entry.file, "is not the file that the catalogue lists (its sha256 differs): install anew")
    mesh = load_mesh(content, file_type="glb")
    # glTF keeps vertex colours in linear light; everywhere else they are sRGB.
    return Mesh(mesh.vertices, mesh.faces, None if mesh.vertex_colors is None else _SRGB[mesh.vertex_colors])


def catalogue_model(object_id: str) -> ObjectModel:
    """The object with its anchors.

    Raises:
        InputError: as `load_object`.
    """
    entry = _entry(object_id)
    anchors = {
        name: Anchor(_vector(position), _vector(normal), _vector(direction), radius)
        for name, (position, normal, direction, radius) in entry.anchors.items()
    }
    return ObjectModel(f"catalogue/{object_id}", entry.category, load_object(object_id), anchors)


def _entry(object_id: str) -> CatalogueEntry:
    found = next((entry for entry in load_catalogue() if entry.id == object_id), None)
    if found is None:
        raise InputError("object", f"is {object_id!r}; the catalogue has no such entry")
    return found


def _vector(values: Any) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def _folder() -> Any:
    return resources.files("interactvlm") / "assets" / "objects"
