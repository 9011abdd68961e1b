"""What the embedded catalogue holds: the CC0 meshes that ship, and generated ones so that no category is empty."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from interactvlm.geometry.glb_bytes import painted_glb
from interactvlm.geometry.mesh import Mesh
from interactvlm.objects.anchors import object_for
from interactvlm.objects.catalogue import load_catalogue
from interactvlm.objects.categories import CATEGORIES
from interactvlm.retrieval.rows import TableRow

__all__ = ["CatalogueObject", "catalogue_objects", "contents_key", "mesh_content"]

_LICENCE_OF_GENERATED = "Apache-2.0"  # this project's own
#: Generated objects of a category that the shipped meshes have, and of one they lack.
_BESIDE_SHIPPED, _INSTEAD = 1, 2


@dataclass(frozen=True, slots=True)
class CatalogueObject:
    """One object.

    Attributes:
        source: what `objects.object_for` builds it from.
        row: what is known of it; its id is the shipped mesh's, or the source of a generated one.
    """

    source: str
    row: TableRow

    def mesh(self) -> Mesh:
        """Its mesh, colours in sRGB."""
        return object_for(self.source).mesh


@cache
def catalogue_objects() -> tuple[CatalogueObject, ...]:
    """Every object, shipped ones first (about a second, once a process)."""
    shipped = [
        CatalogueObject(
            f"catalogue/{entry.id}",
            TableRow(
                id=entry.id,
                category=entry.category,
                name=entry.name,
                licence=entry.licence,
                faces=entry.faces,
                extent_metres=max(entry.size_m),
                mesh_sha256=entry.sha256,
            ),
        )
        for entry in load_catalogue()
    ]
    present = Counter(item.row.category for item in shipped)
    generated = [
        _generated(name, seed) for name in CATEGORIES for seed in range(_BESIDE_SHIPPED if present[name] else _INSTEAD)
    ]
    return (*shipped, *generated)


def mesh_content(source: str) -> bytes:
    """The object's mesh as GLB; the bytes of a source never differ.

    Raises:
        InputError: no such object.
    """
    kind, _, name = source.partition("/")
    if kind == "catalogue":
        file = next(entry.file for entry in load_catalogue() if entry.id == name)
        content: bytes = (resources.files("interactvlm") / "assets" / "objects" / file).read_bytes()
        return content
    mesh = object_for(source).mesh
    colours = np.full(mesh.vertices.shape, 160) if mesh.vertex_colors is None else mesh.vertex_colors
    return painted_glb(mesh.vertices, mesh.faces, colours / 255, licence=_LICENCE_OF_GENERATED)


def contents_key(objects: Sequence[CatalogueObject]) -> str:
    """Names these contents, mesh by mesh."""
    facts = "\n".join(repr(item) for item in objects)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _generated(name: str, seed: int) -> CatalogueObject:
    source = f"generator/{name}/{seed}"
    mesh = object_for(source).mesh
    low, high = mesh.bounds
    row = TableRow(
        id=source,
        category=name,
        name=name,
        licence=_LICENCE_OF_GENERATED,
        faces=len(mesh.faces),
        extent_metres=round(float((high - low).max()), 4),
        mesh_sha256=hashlib.sha256(mesh_content(source)).hexdigest(),
    )
    return CatalogueObject(source, row)
