from __future__ import annotations

import asyncio
import uuid

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from interactvlm.client.meshes import upload_messages
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.types import Task
from interactvlm.v1 import batch_service_pb2, batch_service_pb2_grpc, contact_service_pb2, types_pb2
from interactvlm.wire import decode_body, decode_prediction
from services.orchestrator.config import PredictConfig
from services.runtime.errors import QueueFull

WHOLE = types_pb2.PersonSelector(whole_photo=True)
Request = contact_service_pb2.PredictRequest


def reason(error: grpc.aio.AioRpcError) -> str:
    (details,) = [v for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
    return status_reason(status_pb2.Status.FromString(details))


def status_reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.domain == "interactvlm"
    return info.reason


def points(seed: int, count: int = 8) -> PointCloud:
    return PointCloud(np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32))


async def upload(house, surface: Mesh | PointCloud) -> contact_service_pb2.Mesh:
    return await house.contact.UploadMesh(iter(upload_messages(surface)))


async def test_a_photo_is_answered(build_house, png: bytes) -> None:
    house = await build_house()
    request = Request(photo=png, person=WHOLE, objects=[types_pb2.ObjectQuery(name="cup")], dense=True)
    found = decode_prediction(await house.contact.Predict(request))
    (result,) = found.results
    assert (result.task, result.object_name, result.surface) == (Task.SEMANTIC, "cup", "anny")
    assert result.vertex_ids.tolist() == [0, 1]
    assert result.parts_touched == ("torso",)
    assert found.model.checkpoint_hash == "a" * 64
    assert found.photo_size == (32, 48)
    assert list(found.timings) == ["person", "language", "localization"]


async def test_no_contact_token_is_no_contact_and_no_call(build_house, png: bytes) -> None:
    house = await build_house()
    request = Request(photo=png, person=WHOLE, objects=[types_pb2.ObjectQuery(name="nothing")])
    found = decode_prediction(await house.contact.Predict(request))
    assert not found.results[0].vertex_ids.size
    assert house.mvloc[0].calls["LocateBody"] == 0


async def test_the_model_sees_the_photo_or_the_region(build_house, png: bytes) -> None:
    house = await build_house()
    await house.contact.Predict(Request(photo=png, person=WHOLE))
    box = types_pb2.BoundingBox(left=0, top=0, right=10, bottom=12)
    response = await house.contact.Predict(Request(photo=png, person=types_pb2.PersonSelector(box=box)))
    whole, part = house.vlm[0].images
    region = response.region
    assert whole.shape == (32, 48, 3)
    left, top, right, bottom = (int(v) for v in (region.left, region.top, region.right, region.bottom))
    assert np.array_equal(part, whole[top:bottom, left:right])


async def test_owner_request_id_and_deadline_travel(build_house, png: bytes) -> None:
    house = await build_house()
    metadata = (("interactvlm-owner", "alice"), ("interactvlm-request-id", "r-1"), ("interactvlm-priority", "batch"))
    await house.contact.Predict(Request(photo=png, person=WHOLE), timeout=20, metadata=metadata)
    for stage in (house.vlm[0], house.mvloc[0]):
        call = stage.seen[-1]
        assert (call.owner, call.request_id, call.priority.wire) == ("alice", "r-1", "batch")
        remaining = call.context.remaining()
        assert remaining is not None
        assert remaining < 20


async def test_objects_have_their_meshes_pushed_once(build_house, png: bytes) -> None:
    house = await build_house()
    held = await upload(house, points(1))
    request = Request(
        photo=png,
        person=WHOLE,
        objects=[types_pb2.ObjectQuery(name="cup", mesh_sha256=held.sha256)],
        tasks=[types_pb2.TASK_OBJECT],
    )
    answers = await asyncio.gather(*(house.contact.Predict(request) for _ in range(6)))
    assert all(answer.results[0].vertex_count == 8 for answer in answers)
    assert all(answer.results[0].surface == held.sha256 for answer in answers)
    assert house.mvloc[0].calls["PutMesh"] == 1


async def test_one_failed_object_is_told_in_its_place(build_house, png: bytes) -> None:
    house = await build_house()
    good, bad = await upload(house, points(1)), await upload(house, points(2))
    house.mvloc[0].broken.add(bad.sha256)
    request = Request(
        photo=png,
        person=WHOLE,
        objects=[
            types_pb2.ObjectQuery(name="bat", mesh_sha256=bad.sha256),
            types_pb2.ObjectQuery(name="cup", mesh_sha256=good.sha256),
        ],
    )
    response = await house.contact.Predict(request)
    seen = [(entry.task, entry.object_name, entry.HasField("error")) for entry in response.results]
    semantic, of_object = types_pb2.TASK_SEMANTIC, types_pb2.TASK_OBJECT
    assert seen == [
        (semantic, "bat", False),
        (semantic, "cup", False),
        (of_object, "bat", True),
        (of_object, "cup", False),
    ]
    assert status_reason(response.results[2].error) == "INTERNAL"
    assert "own trouble" not in response.results[2].error.message


async def test_meshes_belong_to_their_owner(build_house, png: bytes) -> None:
    house = await build_house()
    alice, bob = ((("interactvlm-owner", name),) for name in ("alice", "bob"))
    held = await house.contact.UploadMesh(iter(upload_messages(points(1))), metadata=alice)
    name = contact_service_pb2.GetMeshRequest(name=held.name)
    assert await house.contact.GetMesh(name, metadata=alice) == held
    request = Request(photo=png, person=WHOLE, objects=[types_pb2.ObjectQuery(name="cup", mesh_sha256=held.sha256)])
    gone = contact_service_pb2.DeleteMeshRequest(name=held.name)
    for call in (
        house.contact.GetMesh(name, metadata=bob),
        house.contact.DeleteMesh(gone, metadata=bob),
        house.contact.Predict(request, metadata=bob),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.NOT_FOUND, "MESH_NOT_FOUND")
    await house.contact.DeleteMesh(gone, metadata=alice)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.contact.GetMesh(name, metadata=alice)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_repeated_request_gets_its_answer_again(build_house, png: bytes) -> None:
    house = await build_house()
    request = Request(request_id=str(uuid.uuid4()), photo=png, person=WHOLE)
    first = await house.contact.Predict(request)
    second = await house.contact.Predict(request)
    assert (first.replayed, second.replayed) == (False, True)
    assert house.vlm[0].calls["Answer"] == 1
    second.replayed = False
    assert second == first
    other = await house.contact.Predict(request, metadata=(("interactvlm-owner", "bob"),))
    assert not other.replayed
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.contact.Predict(Request(request_id=request.request_id, photo=png, person=WHOLE, fast=True))
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_bad_requests_are_refused_by_field(build_house, png: bytes) -> None:
    house = await build_house()
    cup = types_pb2.ObjectQuery(name="cup")
    cases = {
        "photo": Request(person=WHOLE),
        "objects": Request(photo=png, person=WHOLE, objects=[cup] * 65),
        "objects[0].mesh_sha256": Request(
            photo=png, person=WHOLE, objects=[types_pb2.ObjectQuery(name="cup", mesh_sha256="../../etc")]
        ),
        "tasks[0]": Request(photo=png, person=WHOLE, tasks=[77]),
        "task": Request(photo=png, person=WHOLE, tasks=[types_pb2.TASK_SEMANTIC]),
        "person.box": Request(photo=png, person=types_pb2.PersonSelector(box=types_pb2.BoundingBox())),
        "checkpoint_sha256": Request(photo=png, person=WHOLE, checkpoint_sha256="x"),
        "request_id": Request(photo=png, person=WHOLE, request_id="x" * 129),
    }
    for field, request in cases.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await house.contact.Predict(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details().startswith(f"{field}:"), caught.value.details()
    assert house.vlm[0].calls["Answer"] == 0


async def test_a_full_stage_is_told_with_its_pushback(build_house, png: bytes) -> None:
    house = await build_house(vlm=2)
    for stage in house.vlm:
        stage.error = QueueFull("9 items wait; the limit is 9", retry_after=0.75)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.contact.Predict(Request(photo=png, person=WHOLE))
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "750"
    assert sum(stage.calls["Answer"] for stage in house.vlm) == 1


async def test_too_many_photos_in_work_are_refused(build_house, png: bytes) -> None:
    house = await build_house(predict=PredictConfig(max_pending=2))
    house.vlm[0].delay = 0.3
    calls = [house.contact.Predict(Request(photo=png, person=WHOLE)) for _ in range(5)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert len(refused) == 3
    assert {reason(error) for error in refused} == {"QUEUE_FULL"}


async def test_too_many_bytes_in_work_are_refused(build_house, png: bytes) -> None:
    house = await build_house(predict=PredictConfig(max_pending_bytes=1))
    house.vlm[0].delay = 0.3
    calls = [house.contact.Predict(Request(photo=png, person=WHOLE)) for _ in range(3)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes) == 2  # one is always let in


async def test_an_answer_too_large_is_refused_with_a_reason(build_house, png: bytes) -> None:
    house = await build_house()
    house.service._servicer._predictor._max_answer_bytes = 100
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.contact.Predict(Request(photo=png, person=WHOLE, dense=True))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "without dense" in caught.value.details()


async def test_cancelling_ends_the_calls_to_stages(build_house, png: bytes) -> None:
    house = await build_house()
    house.vlm[0].delay = 30.0
    call = house.contact.Predict(Request(photo=png, person=WHOLE, request_id="again"))
    while not house.vlm[0].running:
        await asyncio.sleep(0.01)
    call.cancel()
    while not house.vlm[0].cancelled:
        await asyncio.sleep(0.01)
    assert house.vlm[0].running == 0


async def test_a_deadline_ends_the_calls_to_stages(build_house, png: bytes) -> None:
    house = await build_house()
    house.vlm[0].delay = 30.0
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.contact.Predict(Request(photo=png, person=WHOLE), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    while house.vlm[0].running:
        await asyncio.sleep(0.01)
    assert house.mvloc[0].calls["LocateBody"] == 0


async def test_body_and_server_info(build_house, small_body) -> None:
    house = await build_house(vlm=2)
    for name in ("", "bodies/anny"):
        body = decode_body(await house.contact.GetBody(contact_service_pb2.GetBodyRequest(name=name)))
        assert np.array_equal(body.vertices, small_body.vertices)
    for name in ("bodies/smplx", "anny"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await house.contact.GetBody(contact_service_pb2.GetBodyRequest(name=name))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    info = await house.contact.GetServerInfo(contact_service_pb2.GetServerInfoRequest())
    (model,) = info.models
    assert (model.model.checkpoint_sha256, model.weight, model.body_vertex_count) == ("a" * 64, 1.0, 4)
    assert (info.max_in_flight, info.max_photo_bytes) == (32, 32 * 2**20)


async def test_what_is_not_there_yet_says_so(build_house) -> None:
    house = await build_house()
    jobs = batch_service_pb2_grpc.BatchServiceStub(house.channel)
    watch = jobs.WatchJob(batch_service_pb2.WatchJobRequest(name="jobs/1"))
    scene = house.contact.Reconstruct(contact_service_pb2.ReconstructRequest())
    for call in (jobs.CreateJob(batch_service_pb2.CreateJobRequest()), anext(aiter(watch)), anext(aiter(scene))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
        assert "version" in caught.value.details()


async def test_a_pinned_checkpoint_goes_where_it_lives(build_house, png: bytes) -> None:
    canary = "b" * 64
    house = await build_house(vlm=2, mvloc=2)
    for stage in (house.vlm[1], house.mvloc[1]):
        stage.checkpoints = ["a" * 64, canary]  # learnt from the refusals of the others: nobody has asked again yet
    for _ in range(8):
        response = await house.contact.Predict(Request(photo=png, person=WHOLE, checkpoint_sha256=canary))
        assert response.model.checkpoint_sha256 == canary


async def test_a_checkpoint_nobody_has_is_refused(build_house, png: bytes) -> None:
    house = await build_house(vlm=2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.contact.Predict(Request(photo=png, person=WHOLE, checkpoint_sha256="c" * 64))
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.NOT_FOUND, "CHECKPOINT_NOT_LIVE")
