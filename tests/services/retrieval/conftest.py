"""A retrieval server on loopback over a toy table: every kind of query is a vector of three numbers."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from interactvlm.errors import InputError
from interactvlm.retrieval.retriever import Answer, ImageQuery, MeshFile, ObjectHit, ViewMatch
from interactvlm.retrieval.rows import RowFilter, TableRow, table_of_rows
from interactvlm.retrieval.sizes import SizeEstimate
from interactvlm.v1 import retrieval_service_pb2_grpc
from services.retrieval.admin_servicer import RetrievalAdminService
from services.retrieval.config import RetrievalConfig
from services.retrieval.engine import RetrievalEngine
from services.retrieval.opening import Opened
from services.retrieval.servicer import RetrievalService
from services.retrieval.tables import Tables
from services.runtime.config import ServerConfig
from services.runtime.server import Server

GLB, PLY = "a" * 64, "b" * 64
#: Two and a half pieces.
CONTENT = b"glTF" + bytes(range(256)) * (10 * 2**10)
TRIANGLE = (
    b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
)
ROWS = (
    TableRow("mug", "cup", "red mug", "CC0-1.0", faces=100, extent_metres=0.1, mesh_sha256=GLB),
    TableRow("racket", "tennis racket", "old racket", "CC-BY-4.0", faces=2000, extent_metres=0.7, mesh_sha256=PLY),
    TableRow("sofa", "couch", "corner sofa", "CC0-1.0", faces=1500, extent_metres=2.3),
)
VECTORS = {"cup": (1, 0, 0), "racket": (0, 1, 0), "sofa": (0, 0, 1), "nonsense": (-1, -1, -1)}


class ToyTable:
    """A retriever whose answers can be foreseen; it notes (kind, queries) of every call."""

    version = "toy-1"

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.filters: list[RowFilter | None] = []
        self.pictures: list[ImageQuery] = []
        self.threads: set[str] = set()
        self.closed = False
        self.newer = 0

    def __len__(self) -> int:
        return len(ROWS)

    sees = True

    def warm(self) -> None: ...

    def warm_views(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def refresh(self) -> bool:
        if self.newer:
            self.newer -= 1
            self.version = f"toy-{int(self.version.removeprefix('toy-')) + 1}"
            return True
        return False

    def by_text(self, texts: Sequence[str], **rest: Any) -> list[Answer]:
        self.calls.append(("text", len(texts)))
        return self._answers([VECTORS.get(text, (1, 1, 1)) for text in texts], **rest)

    def by_image(self, queries: Sequence[ImageQuery], **rest: Any) -> list[Answer]:
        self.calls.append(("image", len(queries)))
        self.pictures += queries
        return self._answers([query.photo.reshape(-1, 3).mean(0) for query in queries], view=True, **rest)

    def by_embedding(self, vectors: np.ndarray, **rest: Any) -> list[Answer]:
        self.calls.append(("embedding", len(vectors)))
        if vectors.shape[1] != 3:
            raise InputError("query", f"has {vectors.shape[1]} channels; the table's have 3")
        return self._answers(vectors, **rest)

    def by_shape(self, shapes: Sequence[Any], **rest: Any) -> list[Answer]:
        self.calls.append(("shape", len(shapes)))
        return self._answers([(0, 1, 0)] * len(shapes), **rest)

    def rows(self) -> Iterator[TableRow]:
        return iter(ROWS)

    def find(self, row_id: str) -> TableRow | None:
        return next((row for row in ROWS if row.id == row_id), None)

    def mesh(self, sha256: str) -> MeshFile:
        known = {GLB: (CONTENT, "glb"), PLY: (TRIANGLE, "ply")}
        if sha256 not in known:
            raise InputError("mesh_sha256", "is not among the table's meshes")
        return MeshFile(*known[sha256], sha256)

    def thumbnail(self, sha256: str, *, size: int = 224) -> np.ndarray:
        return np.zeros((size, size, 3), np.uint8)

    def _answers(
        self, vectors: Any, *, limit: int = 10, where: RowFilter | None = None, view: bool = False
    ) -> list[Answer]:
        self.threads.add(threading.current_thread().name)
        self.filters.append(where)
        passing = np.flatnonzero((where or RowFilter()).passing(table_of_rows(ROWS)))
        seen = ViewMatch(90, 10, -5, 0.75, np.eye(3, dtype=np.float32)) if view else None
        answers = []
        for vector in np.asarray(vectors, float):
            unit = vector / np.linalg.norm(vector)
            order = sorted(passing, key=lambda i: -unit[i])[:limit]
            hits = tuple(
                ObjectHit(
                    ROWS[i],
                    float(unit[i]),
                    None if i == 2 else (1 + unit[i]) / 2,
                    SizeEstimate(ROWS[i].extent_metres, 0.0, "mesh"),
                    seen,
                )
                for i in order
            )
            answers.append(Answer(hits, bool(unit.max() < 0), "cup" if unit[0] == 1 else ""))
        return answers


@pytest.fixture
def toy_table() -> type[ToyTable]:
    return ToyTable


class Running:
    """A started server, its toy table and stubs to it."""

    def __init__(self, table: ToyTable, **settings: Any) -> None:
        self.table = table
        server = settings.pop("server", ServerConfig(log_level="warning"))
        config = RetrievalConfig(server=server, **settings)

        def opening(_: RetrievalConfig) -> Opened:
            return Opened(Tables(table, folder=None, open_table=lambda folder: table, most_open=4), None)

        self.engine = RetrievalEngine(config, opening=opening)
        self.service = RetrievalService(self.engine)
        self.server = Server([self.service, RetrievalAdminService(self.engine, max_owner_meshes=1)], server)

    async def __aenter__(self) -> Running:
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.stub: Any = retrieval_service_pb2_grpc.RetrievalServiceStub(self.channel)
        self.admin: Any = retrieval_service_pb2_grpc.RetrievalAdminServiceStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.stop(grace=0)


@pytest.fixture(scope="session")
def start_toy() -> type[Running]:
    return Running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toy() -> AsyncIterator[Running]:
    async with Running(ToyTable()) as started:
        yield started


@pytest.fixture(scope="session")
def picture() -> bytes:
    """40 x 30 pixels, red like the mug; a green patch at 10..14, 5..9."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[..., 0] = 200
    pixels[5:9, 10:14] = (0, 200, 0)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def other_owner() -> list[tuple[str, str]]:
    return [("interactvlm-owner", "bob")]


@pytest.fixture(scope="session")
def triangle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("meshes") / "triangle.ply"
    path.write_bytes(TRIANGLE)
    return path
