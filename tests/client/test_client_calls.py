from __future__ import annotations

import asyncio
import importlib.metadata
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from packaging.requirements import Requirement

from interactvlm.body import load_template
from interactvlm.client import (
    AsyncClient,
    Client,
    Endpoint,
    OverloadedError,
    ServerDeadlineError,
    ServerError,
    ServerUnavailableError,
)
from interactvlm.errors import DeadlineExceededError, InputError, PhotoError, QuestionError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import Box, Prediction, Task, WholePhoto
from interactvlm.v1 import contact_service_pb2 as pb
from interactvlm.v1 import types_pb2
from interactvlm.wire import encode_prediction
from tests.client import stub_contact_service as stubs

TRIANGLE = Mesh(vertices=np.eye(3, dtype=np.float32) / 3, faces=np.array([[0, 1, 2]], dtype=np.int32))
POINTS = PointCloud(np.linspace(0, 1, 30, dtype=np.float32).reshape(10, 3))


def test_importing_the_client_loads_no_model_library() -> None:
    code = "import sys, interactvlm.client; print([m for m in ('torch', 'numba', 'transformers') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["grpc", "google.rpc"])
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; import interactvlm.client"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is not installed: pip install 'interactvlm[client]'" in printed.stderr


def test_installing_the_client_brings_no_model_library() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    pending = [*project["dependencies"], *project["optional-dependencies"]["client"]]
    needed: set[str] = set()
    while pending:
        requirement = Requirement(pending.pop())
        name = requirement.name.lower()
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and name not in needed:
            needed.add(name)
            pending += importlib.metadata.requires(name) or []
    assert {"grpcio", "protobuf", "numpy"} <= needed
    assert not needed & {"torch", "numba", "transformers"}


def _assert_same(found: Prediction, expected: Prediction) -> None:
    (result,), (wanted,) = found.results, expected.results
    np.testing.assert_array_equal(result.probabilities, wanted.probabilities)
    np.testing.assert_array_equal(result.view_logits, wanted.view_logits)
    for name in ("task", "object_name", "threshold", "surface", "text", "confidence", "parts_named", "parts_touched"):
        assert getattr(result, name) == getattr(wanted, name)
    for name in ("photo_sha256", "photo_size", "model", "person", "region", "timings", "notices", "failures"):
        assert getattr(found, name) == getattr(expected, name)


async def test_an_answer_arrives_as_the_library_gives_it(served: Any, photo: bytes) -> None:
    async with AsyncClient(served.target, priority="batch") as client:
        found = await client.predict(
            photo, objects=["tennis racket"], tasks=["semantic"], person=Box(1, 2, 30, 40), fast=True, view_logits=True
        )
    _assert_same(found, stubs.make_prediction("tennis racket"))
    (request,), (metadata,) = served.stub.requests, served.stub.metadata
    assert request.photo == photo
    assert (request.person.box.left, request.person.box.bottom) == (1, 40)
    assert list(request.tasks) == [types_pb2.TASK_SEMANTIC]
    assert request.fast
    assert metadata["interactvlm-priority"] == "batch"
    assert metadata["interactvlm-request-id"] == request.request_id != ""


async def test_sparse_answers_keep_the_touched_vertices(served: Any, photo: bytes) -> None:
    expected = stubs.make_prediction("cup").results[0]
    async with AsyncClient(served.target) as client:
        (found,) = (await client.predict(photo, objects=["cup"], dense=False)).results
    np.testing.assert_array_equal(found.vertex_ids, expected.vertex_ids)
    np.testing.assert_array_equal(found.probabilities[found.vertex_ids], expected.probabilities[expected.vertex_ids])
    assert found.view_logits is None


async def test_pixels_travel_without_loss(served: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    async with AsyncClient(served.target) as client:
        await client.predict(pixels, person=WholePhoto())
    from interactvlm.photo import load_photo

    np.testing.assert_array_equal(load_photo(served.stub.requests[0].photo), pixels)
    assert served.stub.requests[0].person.whole_photo


async def test_meshes_are_uploaded_once_and_arrive_exactly(served: Any, photo: bytes) -> None:
    objects = [ObjectQuery("cup", TRIANGLE), ObjectQuery("cloud", POINTS)]
    async with AsyncClient(served.target) as client:
        await asyncio.gather(*(client.predict(photo, objects=objects) for _ in range(3)))
        assert served.stub.uploads == 2
        assert set(served.stub.meshes) == {TRIANGLE.content_hash, POINTS.content_hash}
        assert [item.mesh_sha256 for item in served.stub.requests[0].objects] == [
            TRIANGLE.content_hash,
            POINTS.content_hash,
        ]
        await client.delete_mesh(TRIANGLE.content_hash)
        assert set(served.stub.meshes) == {POINTS.content_hash}
    async with AsyncClient(served.target) as other:  # the server has one of them still
        await other.predict(photo, objects=objects)
    assert served.stub.uploads == 3


async def test_a_mesh_the_server_forgot_is_uploaded_again(served: Any, photo: bytes) -> None:
    info = error_details_pb2.ErrorInfo(reason="MESH_NOT_FOUND", domain="interactvlm")

    async def look(request: pb.PredictRequest, context: Any) -> None:
        if request.objects[0].mesh_sha256 not in served.stub.meshes:
            await stubs.abort(context, stubs.make_status(grpc.StatusCode.NOT_FOUND, "no such mesh", info))

    served.stub.on_predict = look
    async with AsyncClient(served.target) as client:
        await client.predict(photo, objects=[ObjectQuery("cup", TRIANGLE)])
        served.stub.meshes.clear()
        await client.predict(photo, objects=[ObjectQuery("cup", TRIANGLE)])
    assert served.stub.uploads == 2


async def test_a_large_mesh_goes_in_pieces(served: Any) -> None:
    points = PointCloud(np.random.default_rng(1).random((300_000, 3), dtype=np.float32))
    async with AsyncClient(served.target) as client:
        assert await client.upload_mesh(points) == points.content_hash


async def test_a_refused_upload_says_why_whenever_the_refusal_comes(served: Any) -> None:
    """grpc.aio hides the status under an INTERNAL of its own where a piece is sent to a call that has just ended."""
    served.stub.refuse_uploads = stubs.make_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "you keep too many")
    points = PointCloud(np.random.default_rng(1).random((700_000, 3), dtype=np.float32))
    async with AsyncClient(served.target) as client:
        tried = await asyncio.gather(*(client.upload_mesh(points) for _ in range(60)), return_exceptions=True)
    assert {(type(error), str(error)) for error in tried} == {(OverloadedError, "you keep too many")}


async def test_body_and_server_info(served: Any) -> None:
    async with AsyncClient(served.target) as client:
        body, info = await client.body("anny"), await client.server_info()
    expected = load_template("anny")
    np.testing.assert_array_equal(body.vertices, expected.vertices)
    np.testing.assert_array_equal(body.faces, expected.faces)
    assert body.part_names == expected.part_names
    assert (info.version, info.max_in_flight, info.max_photo_bytes) == ("7", 3, 5)


async def test_a_failed_object_is_told_beside_the_others(served: Any, photo: bytes) -> None:
    info = error_details_pb2.ErrorInfo(reason="MESH_INVALID", domain="interactvlm")

    async def answer(request: pb.PredictRequest, _: Any) -> pb.PredictResponse:
        response = encode_prediction(stubs.make_prediction("cup"))
        response.results.add(
            task=types_pb2.TASK_OBJECT,
            object_name="cup",
            error=stubs.make_status(grpc.StatusCode.INVALID_ARGUMENT, "mesh: is odd", info),
        )
        return response

    served.stub.on_predict = answer
    async with AsyncClient(served.target) as client:
        found = await client.predict(photo, objects=["cup"])
    assert len(found.results) == 1
    (failure,) = found.failures
    assert (failure.index, failure.task, failure.object_name) == (1, Task.OBJECT, "cup")
    assert isinstance(failure.error, ServerError)
    assert failure.error.reason == "MESH_INVALID"


async def test_refused_input_is_an_input_error(served: Any, photo: bytes) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="objects[0].name", description="has 65 characters")
    info = error_details_pb2.ErrorInfo(reason="QUESTION_INVALID", domain="interactvlm", metadata={"limit": "64"})

    async def refuse(_: Any, context: Any) -> None:
        status = stubs.make_status(grpc.StatusCode.INVALID_ARGUMENT, "objects[0].name: has 65 characters", info, bad)
        await stubs.abort(context, status)

    served.stub.on_predict = refuse
    async with AsyncClient(served.target) as client:
        with pytest.raises(InputError, match="has 65 characters") as caught:
            await client.predict(photo)
    error = caught.value
    assert isinstance(error, ServerError)
    assert (error.field, error.problem) == ("objects[0].name", "has 65 characters")
    assert (error.code, error.reason, error.metadata, error.exit_code) == (
        "INVALID_ARGUMENT",
        "QUESTION_INVALID",
        {"limit": "64"},
        2,
    )


async def test_overload_is_told_and_not_retried(served: Any, photo: bytes) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))

    async def refuse(_: Any, context: Any) -> None:
        await stubs.abort(context, stubs.make_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full", retry))

    served.stub.on_predict = refuse
    async with AsyncClient(served.target) as client:
        with pytest.raises(OverloadedError, match="the queue is full") as caught:
            await client.predict(photo)
    assert caught.value.retry_after == 1.5
    assert len(served.stub.requests) == 1


async def test_unavailable_is_retried_under_the_same_request_id_after_the_pushback(served: Any, photo: bytes) -> None:
    async def fail_twice(_: Any, context: Any) -> None:
        if len(served.stub.requests) < 3:
            status = stubs.make_status(grpc.StatusCode.UNAVAILABLE, "draining")
            await stubs.abort(context, status, grpc_retry_pushback_ms="300")

    served.stub.on_predict = fail_twice
    begin = time.monotonic()
    async with AsyncClient(served.target) as client:
        await client.predict(photo * 50)  # larger than gRPC's own retry buffer would be
    assert time.monotonic() - begin >= 0.6
    assert len({request.request_id for request in served.stub.requests}) == 1
    assert len(served.stub.requests) == 3


async def test_a_call_that_met_the_servers_end_is_repeated(served: Any, photo: bytes) -> None:
    """gRPC's servers answer CANCELLED, without details, to what arrives in the moment in which they begin to drain."""

    async def drop_first(_: Any, context: Any) -> None:
        if len(served.stub.requests) < 2:
            await context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")

    served.stub.on_predict = drop_first
    async with AsyncClient(served.target) as client:
        await client.predict(photo)
    assert len(served.stub.requests) == 2
    assert len({request.request_id for request in served.stub.requests}) == 1


async def test_a_negative_pushback_forbids_retries(served: Any, photo: bytes) -> None:
    async def fail(_: Any, context: Any) -> None:
        status = stubs.make_status(grpc.StatusCode.UNAVAILABLE, "never mind")
        await stubs.abort(context, status, grpc_retry_pushback_ms="-1")

    served.stub.on_predict = fail
    async with AsyncClient(served.target) as client:
        with pytest.raises(ServerUnavailableError, match="never mind"):
            await client.predict(photo)
    assert len(served.stub.requests) == 1


async def test_retries_are_bounded_by_a_budget(served: Any, photo: bytes) -> None:
    async def fail(_: Any, context: Any) -> None:
        status = stubs.make_status(grpc.StatusCode.UNAVAILABLE, "down")
        await stubs.abort(context, status, grpc_retry_pushback_ms="1")

    served.stub.on_predict = fail
    async with AsyncClient(served.target) as client:
        for _ in range(20):
            with pytest.raises(ServerUnavailableError):
                await client.predict(photo)
    assert len(served.stub.requests) <= 20 + 5


async def test_other_failures_are_not_retried(served: Any, photo: bytes) -> None:
    async def fail(_: Any, context: Any) -> None:
        call = error_details_pb2.RequestInfo(request_id="r-17")
        await stubs.abort(context, stubs.make_status(grpc.StatusCode.INTERNAL, "it broke", call))

    served.stub.on_predict = fail
    async with AsyncClient(served.target) as client:
        with pytest.raises(ServerError, match=r"it broke \(request id r-17\)") as caught:
            await client.predict(photo)
    assert (caught.value.code, caught.value.request_id) == ("INTERNAL", "r-17")
    assert len(served.stub.requests) == 1


async def test_the_time_limit_ends_a_call_on_both_sides(served: Any, photo: bytes) -> None:
    async def linger(_: Any, __: Any) -> None:
        await asyncio.sleep(60)

    served.stub.on_predict = linger
    async with AsyncClient(served.target) as client:
        await client.server_info()  # connected: what follows is the call's own time
        with pytest.raises(DeadlineExceededError, match="gave no answer in time") as caught:
            await client.predict(photo, timeout=1.0)
        await asyncio.wait_for(served.stub.cancelled.wait(), 10)
    assert isinstance(caught.value, ServerDeadlineError)
    assert caught.value.exit_code == 4


async def test_a_cancelled_task_is_a_cancelled_call(served: Any, photo: bytes) -> None:
    async def linger(_: Any, __: Any) -> None:
        await asyncio.sleep(60)

    served.stub.on_predict = linger
    async with AsyncClient(served.target) as client:
        task = asyncio.create_task(client.predict(photo))
        while not served.stub.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(served.stub.cancelled.wait(), 10)


async def test_bad_input_never_leaves(served: Any, photo: bytes, tmp_path: Path) -> None:
    async with AsyncClient(served.target) as client:
        with pytest.raises(PhotoError, match="does not exist"):
            await client.predict(tmp_path / "none.jpg")
        with pytest.raises(PhotoError, match="is empty"):
            await client.predict(b"")
        with pytest.raises(QuestionError, match="known: binary"):
            await client.predict(photo, tasks=["reading"])
    assert not served.stub.requests


async def test_nobody_there(photo: bytes) -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1:1 cannot be reached"):
            await client.predict(photo)


async def test_the_synchronous_client(served: Any, photo: bytes) -> None:
    def use() -> Prediction:
        with Client(Endpoint(served.target, token="secret")) as client:
            assert client.server_info().version == "7"
            assert client.body().topology == "anny"
            assert client.upload_mesh(POINTS) == POINTS.content_hash
            client.delete_mesh(POINTS.content_hash)
            return client.predict(photo, objects=["chair"], view_logits=True)

    _assert_same(await asyncio.to_thread(use), stubs.make_prediction("chair"))
    assert served.stub.metadata[0]["authorization"] == "Bearer secret"


async def test_a_token_file_is_read_anew(served: Any, photo: bytes, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    async with AsyncClient(Endpoint(served.target, token_file=file)) as client:
        await client.predict(photo)
        file.write_text("second\n")
        await client.predict(photo)
        file.write_text("")
        with pytest.raises(InputError, match="holds no token"):
            await client.predict(photo)
    assert [m["authorization"] for m in served.stub.metadata] == ["Bearer first", "Bearer second"]
