"""Where `interactvlm retrieve` looks: a retriever in this process, or a server. Both answer alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from interactvlm.cli.mesh_queries import Conditions, MeshQuery, mesh_file
from interactvlm.retrieval.glb import load_shown_mesh
from interactvlm.retrieval.thumbnails import thumbnail

if TYPE_CHECKING:
    from interactvlm.client import Client
    from interactvlm.retrieval.retriever import ObjectHit, Retriever

__all__ = ["FoundMeshes", "LocalMeshes", "MeshSource", "RemoteMeshes"]


@dataclass(frozen=True, slots=True)
class FoundMeshes:
    """An answer.

    Attributes:
        hits: nearest first, as they are printed and written: id, name, category, similarity, confidence ...
        nothing_close: no hit is likely what was asked for; `hits` are the nearest all the same.
        category: the known category that the words name.
        version: what answered.
    """

    hits: tuple[dict[str, Any], ...]
    nothing_close: bool
    category: str
    version: str


class MeshSource(Protocol):
    """Something that finds meshes."""

    def search(self, query: MeshQuery, conditions: Conditions, *, limit: int) -> FoundMeshes:
        """The nearest meshes."""
        ...

    def mesh(self, sha256: str) -> bytes:
        """A mesh that was found, as GLB."""
        ...

    def thumbnail(self, sha256: str, size: int) -> NDArray[np.uint8]:
        """Its picture, RGB uint8 [size, size, 3]."""
        ...


class LocalMeshes:
    """In this process.

    Args:
        retriever: stays the caller's to close.
    """

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    def search(self, query: MeshQuery, conditions: Conditions, *, limit: int) -> FoundMeshes:
        """See `MeshSource`."""
        from interactvlm.retrieval.clouds import cloud_of_points
        from interactvlm.retrieval.names import table_category
        from interactvlm.retrieval.retriever import ImageQuery
        from interactvlm.retrieval.rows import RowFilter

        where = RowFilter(
            frozenset(map(table_category, conditions.categories)),
            frozenset(conditions.licences),
            conditions.max_faces,
            conditions.extent_metres,
        )
        retriever = self._retriever
        if query.photo is not None:
            asked = [ImageQuery(query.photo, query.box, query.mask)]
            (answer,) = retriever.by_image(asked, limit=limit, where=where)
        elif query.mesh is not None:
            (answer,) = retriever.by_shape([query.mesh], limit=limit, where=where)
        elif query.points is not None:
            (answer,) = retriever.by_shape([cloud_of_points(query.points)], limit=limit, where=where)
        else:
            (answer,) = retriever.by_text([query.text], limit=limit, where=where)
        hits = tuple(_local_hit(hit) for hit in answer.hits)
        return FoundMeshes(hits, answer.nothing_close, answer.category, retriever.version)

    def mesh(self, sha256: str) -> bytes:
        """See `MeshSource`."""
        from interactvlm.retrieval.glb import as_glb

        return as_glb(self._retriever.mesh(sha256))

    def thumbnail(self, sha256: str, size: int) -> NDArray[np.uint8]:
        """See `MeshSource`."""
        return self._retriever.thumbnail(sha256, size=size)


class RemoteMeshes:
    """At a server; its meshes are drawn here.

    Args:
        client: stays the caller's to close.
        timeout: seconds a call may take.
    """

    def __init__(self, client: Client, *, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._meshes: dict[str, bytes] = {}

    def search(self, query: MeshQuery, conditions: Conditions, *, limit: int) -> FoundMeshes:
        """See `MeshSource`."""
        from interactvlm.client import MeshSearch

        search = MeshSearch(
            text=query.text,
            photo=None if query.photo is None else query.file,
            mesh=mesh_file(query.file) if query.mesh is not None and query.file is not None else None,
            points=query.points,
            box=query.box,
            mask=query.mask,
            categories=conditions.categories,
            licences=conditions.licences,
            max_faces=conditions.max_faces,
            extent_metres=conditions.extent_metres,
            limit=limit,
            distant=True,
        )
        answer = self._client.search_meshes(search, timeout=self._timeout)
        hits = tuple(_plain(asdict(hit)) for hit in answer.hits)
        return FoundMeshes(hits, answer.nothing_close, answer.category, answer.version)

    def mesh(self, sha256: str) -> bytes:
        """See `MeshSource`."""
        if sha256 not in self._meshes:
            self._meshes[sha256] = self._client.download_mesh(sha256, timeout=self._timeout)
        return self._meshes[sha256]

    def thumbnail(self, sha256: str, size: int) -> NDArray[np.uint8]:
        """See `MeshSource`."""
        return thumbnail(load_shown_mesh(self.mesh(sha256), file_type="glb"), size)


def _local_hit(hit: ObjectHit) -> dict[str, Any]:
    return _plain(
        {
            "id": hit.row.id,
            "name": hit.row.name,
            "category": hit.row.category,
            "similarity": hit.similarity,
            "confidence": hit.confidence,
            "extent_metres": hit.size.mean,
            "extent_spread": hit.size.spread,
            "extent_source": hit.size.source,
            "licence": hit.row.licence,
            "faces": hit.row.faces,
            "mesh_sha256": hit.row.mesh_sha256,
            "view": None if hit.view is None else asdict(hit.view),
        }
    )


def _plain(hit: dict[str, Any]) -> dict[str, Any]:
    """What JSON can hold, at the precision that travels."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        if isinstance(value, np.ndarray):
            return np.round(value.astype(float), 6).tolist()
        return round(float(value), 6) if isinstance(value, (float, np.floating)) else value

    return {name: plain(value) for name, value in hit.items()}
