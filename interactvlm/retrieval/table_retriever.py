"""A user's own table as a retriever: OpenShape's embeddings, asked by CLIP's photos and words or by shapes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh
from interactvlm.retrieval.clouds import ColouredCloud
from interactvlm.retrieval.glb import load_shown_mesh
from interactvlm.retrieval.mesh_store import MeshStore
from interactvlm.retrieval.names import canonical_name
from interactvlm.retrieval.retriever import Answer, ImageQuery, MeshFile, ObjectHit
from interactvlm.retrieval.rows import RowFilter, TableRow
from interactvlm.retrieval.search import TableSearcher
from interactvlm.retrieval.sizes import size_of
from interactvlm.retrieval.thumbnails import thumbnail
from interactvlm.retrieval.vector_table import VectorTable
from interactvlm.retrieval.view_crops import query_box

if TYPE_CHECKING:
    import torch

    from interactvlm.retrieval.query_encoders import QueryEncoder
    from interactvlm.retrieval.shape_embedding import ShapeEmbedder

__all__ = ["TableRetriever"]


class TableRetriever:
    """See `retriever.Retriever`; answers have no confidence, for nobody measured that space.

    Args:
        table: folder, as `catalogue add` or `catalogue import` made it.
        shape_encoder: folder of OpenShape's point encoder; without it there are no queries by shape.
        query_encoder: folder of CLIP; without it there are none by text and photo.
        device: where the encoders compute.

    Raises:
        InputError: the folder holds no table.
    """

    def __init__(
        self,
        table: Path,
        *,
        shape_encoder: Path | None = None,
        query_encoder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not (table / "snapshots").is_dir():
            raise InputError(str(table), "is no table; `interactvlm catalogue add` or `catalogue import` makes one")
        self._table = VectorTable(table)
        self._store = MeshStore(table)
        self._folders = {"shape encoder": shape_encoder, "query encoder": query_encoder}
        self._device = device
        self._loading = threading.Lock()
        self._shapes: ShapeEmbedder | None = None
        self._queries: QueryEncoder | None = None
        self._opened = _Opened(TableSearcher(self._table.open()))

    @property
    def version(self) -> str:
        """See `Retriever`."""
        return f"table-{self._opened.searcher.snapshot.version}"

    def __len__(self) -> int:
        return len(self._opened.searcher.snapshot)

    def warm(self) -> None:
        """See `Retriever`."""
        if self._folders["shape encoder"] is not None:
            self._shape_embedder()
        if self._folders["query encoder"] is not None:
            self._query_encoder()

    @property
    def sees(self) -> bool:
        """See `Retriever`: a table holds no views."""
        return True

    def warm_views(self) -> None:
        """See `Retriever`."""

    def close(self) -> None:
        """See `Retriever`."""
        self._opened.retire()

    def refresh(self) -> bool:
        """Answer from the newest snapshot from now on; searches that run finish on theirs.

        Returns:
            Whether there was a newer one.
        """
        if self._table.version == self._opened.searcher.snapshot.version:
            return False
        old, self._opened = self._opened, _Opened(TableSearcher(self._table.open()))
        old.retire()
        return True

    def by_text(self, texts: Sequence[str], *, limit: int = 10, where: RowFilter | None = None) -> list[Answer]:
        """See `Retriever`."""
        answers = self.by_embedding(self.text_vectors(texts), limit=limit, where=where)
        named = [canonical_name(text) for text in texts]
        return [Answer(one.hits, one.nothing_close, name) for one, name in zip(answers, named, strict=True)]

    def by_image(
        self, queries: Sequence[ImageQuery], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """See `Retriever`; what lies outside a mask stays in the crop, for CLIP has seen only whole pictures."""
        return self.by_embedding(self.image_vectors(queries), limit=limit, where=where)

    def by_shape(
        self, shapes: Sequence[Mesh | ColouredCloud], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """See `Retriever`."""
        return self.by_embedding(self.shape_vectors(shapes), limit=limit, where=where)

    def by_embedding(
        self, vectors: NDArray[np.floating[Any]], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """See `Retriever`."""
        if not len(vectors):
            return []
        with self._searcher() as searcher:
            found = searcher.search(vectors, limit=limit, where=where)
        return [
            Answer(tuple(ObjectHit(hit.row, hit.similarity, None, size_of(hit.row)) for hit in hits), not hits)
            for hits in found
        ]

    def text_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What `by_text` searches with, float32 [Q, D]; other tables of the same space take it in `by_embedding`."""
        return self._query_encoder().texts(texts)

    def image_vectors(self, queries: Sequence[ImageQuery]) -> NDArray[np.float32]:
        """What `by_image` searches with, float32 [Q, D]."""
        from interactvlm.retrieval.query_encoders import square_crop

        return self._query_encoder().images([square_crop(query.photo, query_box(query)) for query in queries])

    def shape_vectors(self, shapes: Sequence[Mesh | ColouredCloud]) -> NDArray[np.float32]:
        """What `by_shape` searches with, float32 [Q, D]: also what a shape is added with."""
        return self._shape_embedder()(shapes)

    def rows(self) -> Iterator[TableRow]:
        """See `Retriever`."""
        with self._searcher() as searcher:
            yield from searcher.snapshot.rows()

    def find(self, row_id: str) -> TableRow | None:
        """See `Retriever`."""
        with self._searcher() as searcher:
            return searcher.snapshot.find(row_id)

    def mesh(self, sha256: str) -> MeshFile:
        """See `Retriever`."""
        path = self._store.find(sha256)
        return MeshFile(path.read_bytes(), path.suffix.removeprefix("."), sha256)

    def thumbnail(self, sha256: str, *, size: int = 224) -> NDArray[np.uint8]:
        """See `Retriever`."""
        file = self.mesh(sha256)
        return thumbnail(load_shown_mesh(file.content, file_type=file.file_type), size)

    @contextmanager
    def _searcher(self) -> Iterator[TableSearcher]:
        opened = self._opened
        while not opened.enter():  # retired between the two lines: a newer one is there
            if opened is self._opened:
                raise InputError("table", "is closed")
            opened = self._opened
        try:
            yield opened.searcher
        finally:
            opened.leave()

    def _shape_embedder(self) -> ShapeEmbedder:
        from interactvlm.retrieval.shape_embedding import ShapeEmbedder
        from interactvlm.retrieval.shape_encoder import load_shape_encoder

        with self._loading:
            if self._shapes is None:
                encoder = load_shape_encoder(self._folder("shape encoder"), device=self._device)
                self._shapes = ShapeEmbedder(encoder)
            return self._shapes

    def _query_encoder(self) -> QueryEncoder:
        from interactvlm.retrieval.query_encoders import load_query_encoder

        with self._loading:
            if self._queries is None:
                self._queries = load_query_encoder(self._folder("query encoder"), device=self._device)
            return self._queries

    def _folder(self, name: str) -> Path:
        folder = self._folders[name]
        if folder is None:
            raise InputError("query", f"needs a {name}, and none was named with this table")
        return folder


class _Opened:
    """A searcher that closes when it is retired and the last search on it has ended."""

    def __init__(self, searcher: TableSearcher) -> None:
        self.searcher = searcher
        self._users = 1  # the retriever itself
        self._lock = threading.Lock()

    def enter(self) -> bool:
        with self._lock:
            if self._users == 0:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self.searcher.close()

    def retire(self) -> None:
        self.leave()
