from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from grpc import aio

from interactvlm.client import AsyncClient, MeshSearch, ServerError
from interactvlm.errors import InputError
from interactvlm.types import Box
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.v1 import retrieval_service_pb2_grpc
from interactvlm.wire import from_tensor, to_tensor


class Stub(retrieval_service_pb2_grpc.RetrievalServiceServicer):
    def __init__(self) -> None:
        self.requests: list[pb.SearchRequest] = []
        self.answer = pb.SearchResponse()
        self.pieces: list[pb.DownloadMeshResponse] = []
        self.metadata: dict[str, Any] = {}
        self.pages: list[list[str]] = []
        self.listed: list[pb.ListMeshesRequest] = []

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        return self.answer

    async def ListMeshes(self, request: pb.ListMeshesRequest, context: Any) -> pb.ListMeshesResponse:
        copy = pb.ListMeshesRequest()
        copy.CopyFrom(request)
        self.listed.append(copy)
        rows = [pb.CatalogueMesh(id=name) for name in self.pages.pop(0)]
        return pb.ListMeshesResponse(meshes=rows, next_page_token="1" if self.pages else "")

    async def DownloadMesh(self, request: pb.DownloadMeshRequest, context: Any) -> AsyncIterator[Any]:
        for piece in self.pieces:
            yield piece


@pytest.fixture
async def stub() -> AsyncIterator[tuple[Stub, AsyncClient]]:
    server, servicer = aio.server(), Stub()
    retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        yield servicer, client
    await server.stop(0)


async def test_everything_asked_travels(stub: tuple[Stub, AsyncClient]) -> None:
    servicer, client = stub
    photo = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:8] = True
    conditions: dict[str, Any] = {
        "categories": ["cup", "mug"],
        "licences": ["CC0-1.0"],
        "max_faces": 9,
        "extent_metres": (0.5, 2),
        "limit": 3,
        "distant": True,
    }
    await client.search_meshes(MeshSearch(photo=photo, box=Box(1, 2, 3, 4), mask=mask, **conditions))
    (request,) = servicer.requests
    assert request.crop.startswith(b"\x89PNG")
    assert request.mask_png.startswith(b"\x89PNG")
    assert (request.box.left, request.box.bottom) == (1, 4)
    assert (list(request.categories), list(request.licences)) == (["cup", "mug"], ["CC0-1.0"])
    assert (request.max_faces, request.limit, request.include_distant) == (9, 3, True)
    assert (request.min_extent_metres, request.max_extent_metres) == (0.5, 2)
    assert servicer.metadata["interactvlm-request-id"]
    points = np.arange(12, dtype=float).reshape(4, 3)
    await client.search_meshes(MeshSearch(points=points))
    await client.search_meshes(MeshSearch(embedding=np.ones(4)))
    await client.search_meshes(MeshSearch(mesh=("ply", b"ply")))
    await client.search_meshes(MeshSearch(text="cup"))
    _, cloud, vector, mesh, text = servicer.requests
    sent = from_tensor(cloud.points, field="p", dtypes=(np.float32,), shape=(None, 3))
    np.testing.assert_array_equal(sent, points)
    assert list(vector.embedding.shape) == [4]
    assert (mesh.mesh.file_type, mesh.mesh.content, text.text) == ("ply", b"ply", "cup")


async def test_everything_found_is_there(stub: tuple[Stub, AsyncClient]) -> None:
    servicer, client = stub
    view = pb.ViewMatch(azimuth_degrees=45, similarity=0.5, rotation=to_tensor(np.eye(3, dtype=np.float32)))
    servicer.answer = pb.SearchResponse(
        hits=[
            pb.SearchHit(id="a", calibrated=True, confidence=0.25, extent_metres=2, extent_source="mesh", view=view),
            pb.SearchHit(id="b", mesh_sha256="c" * 64),
        ],
        nothing_close=True,
        category="cup",
        index_version="7",
    )
    answer = await client.search_meshes(MeshSearch(text="cup"))
    first, second = answer.hits
    assert (answer.nothing_close, answer.category, answer.version) == (True, "cup", "7")
    assert (first.confidence, second.confidence, second.view) == (0.25, None, None)
    assert first.view is not None
    assert first.view.azimuth == 45
    np.testing.assert_array_equal(first.view.rotation, np.eye(3))


@pytest.mark.parametrize(
    ("rotation", "problem"),
    [(np.eye(2, dtype=np.float32), "shape"), (np.full((3, 3), np.nan, np.float32), "finite")],
)
async def test_a_damaged_answer_is_refused(stub: tuple[Stub, AsyncClient], rotation: np.ndarray, problem: str) -> None:
    servicer, client = stub
    servicer.answer = pb.SearchResponse(hits=[pb.SearchHit(view=pb.ViewMatch(rotation=to_tensor(rotation)))])
    with pytest.raises(InputError, match=problem):
        await client.search_meshes(MeshSearch(text="cup"))


async def test_lists_are_read_page_by_page(stub: tuple[Stub, AsyncClient]) -> None:
    servicer, client = stub
    servicer.pages = [["a", "b"], ["c"]]
    assert [row.id for row in await client.list_meshes(category="cup")] == ["a", "b", "c"]
    assert [(one.page_size, one.page_token, one.category) for one in servicer.listed] == [
        (1000, "", "cup"),
        (998, "1", "cup"),
    ]
    servicer.pages = [["a", "b"], ["c"]]
    assert [row.id for row in await client.list_meshes(mesh_id="a", limit=2)] == ["a", "b"]
    assert (servicer.listed[-1].page_size, servicer.listed[-1].id) == (2, "a")


async def test_meshes_arrive_whole_or_not_at_all(stub: tuple[Stub, AsyncClient]) -> None:
    servicer, client = stub
    servicer.pieces = [pb.DownloadMeshResponse(chunk=b"ab", total_bytes=3), pb.DownloadMeshResponse(chunk=b"c")]
    assert await client.download_mesh("c" * 64) == b"abc"
    servicer.pieces.pop()
    with pytest.raises(ServerError, match="2 bytes of a mesh of 3"):
        await client.download_mesh("c" * 64)


@pytest.mark.parametrize("given", [{}, {"text": "cup", "photo": b"x"}, {"mesh": ("glb", b""), "points": np.eye(3)}])
def test_one_thing_is_searched_for(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="exactly one"):
        MeshSearch(**given)
