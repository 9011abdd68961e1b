"""The embedded catalogue as a retriever, right after install: text by names, photos and meshes by rendered views."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh
from interactvlm.retrieval.cached_arrays import cached_arrays
from interactvlm.retrieval.catalogue_objects import CatalogueObject, catalogue_objects, contents_key, mesh_content
from interactvlm.retrieval.clouds import ColouredCloud
from interactvlm.retrieval.confidence import calibration, rate
from interactvlm.retrieval.glb import load_shown_mesh
from interactvlm.retrieval.label_search import LabelScores, LabelSearch, labels_of
from interactvlm.retrieval.retriever import Answer, ImageQuery, MeshFile, ObjectHit
from interactvlm.retrieval.rows import RowFilter, TableRow, table_of_rows
from interactvlm.retrieval.search import MAX_HITS, Hit
from interactvlm.retrieval.sizes import size_of
from interactvlm.retrieval.text_embedding import TEXT_CHANNELS, TEXT_SPACE, load_text_embedder
from interactvlm.retrieval.thumbnails import thumbnail
from interactvlm.retrieval.view_features import (
    PatchFeatures,
    ViewIndex,
    ViewScores,
    build_views,
    view_layout,
    views_key,
)

__all__ = ["CatalogueRetriever"]

Progress = Callable[[str, int, int], None]


class CatalogueRetriever:
    """See `retriever.Retriever`; contents are fixed, indices are built at first use and kept in the cache folder.

    Args:
        cache: folder of the indices.
        load_features: gives the frozen image encoder, called at the first query that shows something.
        objects: what it holds; the embedded catalogue.
        progress: told (what, done, in all) while the index of views is built.
    """

    def __init__(
        self,
        cache: Path,
        load_features: Callable[[], PatchFeatures],
        *,
        objects: Sequence[CatalogueObject] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._cache = cache
        self._load_features = load_features
        self._progress = progress
        self._objects = tuple(catalogue_objects() if objects is None else objects)
        self._key = contents_key(self._objects)
        self._table = table_of_rows([item.row for item in self._objects])
        # Two locks: nobody who asks by text waits for the views to be built.
        self._labels_lock, self._views_lock = threading.Lock(), threading.Lock()
        self._label_search: LabelSearch | None = None
        self._view_index: ViewIndex | None = None

    @property
    def version(self) -> str:
        """See `Retriever`."""
        return f"catalogue-{self._key}"

    def __len__(self) -> int:
        return len(self._objects)

    def warm(self) -> None:
        """See `Retriever`."""
        self._labels()

    @property
    def sees(self) -> bool:
        """See `Retriever`."""
        return self._view_index is not None

    def warm_views(self) -> None:
        """See `Retriever`; an exception of `progress` gives up."""
        self._views()

    def close(self) -> None:
        """See `Retriever`; there is nothing to let go of."""

    def by_text(self, texts: Sequence[str], *, limit: int = 10, where: RowFilter | None = None) -> list[Answer]:
        """See `Retriever`."""
        scores = self._labels().texts(texts)
        return [self._answer(one.similarity, "catalogue-text", limit, where, labels=one) for one in scores]

    def by_embedding(
        self, vectors: NDArray[np.floating[Any]], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """See `Retriever`; the space is the packaged text encoder's, 384 channels."""
        scores = self._labels().vectors(vectors)
        return [self._answer(one.similarity, "catalogue-text", limit, where, labels=one) for one in scores]

    def by_image(
        self, queries: Sequence[ImageQuery], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """See `Retriever`; hits say from where the object seems to be seen."""
        found = self._views().match(queries)
        return [self._answer(one.similarity, "catalogue-views", limit, where, views=one) for one in found]

    def by_shape(
        self, shapes: Sequence[Mesh | ColouredCloud], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """See `Retriever`; meshes are rendered and compared view by view, clouds need an encoder of shapes."""
        meshes = [shape for shape in shapes if isinstance(shape, Mesh)]
        if len(meshes) < len(shapes):
            raise InputError("points", "cannot be searched in the embedded catalogue; send a mesh, or name a table")
        found = [self._views().match_mesh(mesh) for mesh in meshes]
        return [self._answer(one, "catalogue-shapes", limit, where) for one in found]

    def rows(self) -> Iterator[TableRow]:
        """See `Retriever`."""
        return (item.row for item in self._objects)

    def find(self, row_id: str) -> TableRow | None:
        """See `Retriever`."""
        return next((item.row for item in self._objects if item.row.id == row_id), None)

    def mesh(self, sha256: str) -> MeshFile:
        """See `Retriever`."""
        source = next((item.source for item in self._objects if item.row.mesh_sha256 == sha256), None)
        if source is None:
            raise InputError("mesh_sha256", f"{sha256[:80]!r} is not among the catalogue's meshes")
        return MeshFile(mesh_content(source), "glb", sha256)

    def thumbnail(self, sha256: str, *, size: int = 224) -> NDArray[np.uint8]:
        """See `Retriever`."""
        return thumbnail(load_shown_mesh(self.mesh(sha256).content, file_type="glb"), size)

    def _answer(
        self,
        similarity: NDArray[np.float32],
        space: str,
        limit: int,
        where: RowFilter | None,
        *,
        labels: LabelScores | None = None,
        views: ViewScores | None = None,
    ) -> Answer:
        """The best objects of one query, rated within everything that passes the filter."""
        if not 1 <= limit <= MAX_HITS:
            raise InputError("limit", f"is {limit}; it must be from 1 to {MAX_HITS}")
        passing = np.flatnonzero((where or RowFilter()).passing(self._table))
        second = labels.own_name if labels else similarity
        order = passing[np.lexsort((passing, -second[passing], -similarity[passing]))]
        ranked = [Hit(float(similarity[i]), self._objects[i].row) for i in order]
        by = calibration(space)
        rating = rate(ranked, by) if by else None
        hits = tuple(
            ObjectHit(
                row=hit.row,
                similarity=hit.similarity,
                confidence=float(rating.confidence[place]) if rating else None,
                size=size_of(hit.row),
                view=views.best(int(order[place])) if views else None,
            )
            for place, hit in enumerate(ranked[:limit])
        )
        category = labels.category if labels else ""
        return Answer(hits, rating.nothing_close if rating else not hits, category)

    def _labels(self) -> LabelSearch:
        with self._labels_lock:
            if self._label_search is None:
                rows = [item.row for item in self._objects]
                embed, words = load_text_embedder(), labels_of(rows)
                key = hashlib.sha256("\n".join([TEXT_SPACE, *words]).encode()).hexdigest()[:16]
                stored = cached_arrays(
                    self._cache,
                    "labels",
                    key,
                    {"vectors": ("float32", (len(words), TEXT_CHANNELS))},
                    lambda: {"vectors": embed(words)},
                )
                self._label_search = LabelSearch(rows, np.asarray(stored["vectors"], np.float32), embed)
            return self._label_search

    def _views(self) -> ViewIndex:
        with self._views_lock:
            if self._view_index is None:
                features = self._load_features()
                stored = cached_arrays(
                    self._cache,
                    "views",
                    f"{self._key}-{views_key(features)}",
                    view_layout(len(self._objects), features.channels),
                    lambda: build_views([item.mesh for item in self._objects], features, progress=self._progress),
                )
                self._view_index = ViewIndex(stored, features)
            return self._view_index
