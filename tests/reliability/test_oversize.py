"""Messages larger than any limit: refused by name, at the edge, without work for a stage or harm to others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from interactvlm.client.errors import ServerError, from_call
from interactvlm.v1 import contact_service_pb2
from tests.reliability.load import Request, request
from tests.reliability.rooms import Build, Room

pytestmark = pytest.mark.asyncio(loop_scope="session")

StreamRequest = contact_service_pb2.PredictStreamRequest
Upload = contact_service_pb2.UploadMeshRequest
MIB = 2**20


async def refusal(call: object) -> tuple[str, str]:
    """Code and reason a call fails with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    error = from_call(caught.value, "")
    assert isinstance(error, ServerError)
    return error.code, error.reason


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda photo: request(bytes(33 * MIB)), "PHOTO_INVALID"),
        (lambda photo: request(photo, objects=[{"name": "x"}] * 65), "QUESTION_INVALID"),
        (lambda photo: request(photo, request_id="x" * 10_000), "QUESTION_INVALID"),
        (lambda photo: request(photo, checkpoint_sha256="a" * MIB), "INPUT_INVALID"),
        (lambda photo: request(photo, objects=[{"name": "x", "mesh_sha256": "a" * MIB}]), "INPUT_INVALID"),
    ],
    ids=["photo", "objects", "request-id", "checkpoint", "mesh"],
)
async def test_a_field_beyond_its_limit(
    build_room: Build, photo: bytes, make: Callable[[bytes], Request], reason: str
) -> None:
    room = await build_room()
    assert await refusal(room.contact.Predict(make(photo), timeout=60)) == ("INVALID_ARGUMENT", reason)
    assert room.vlm.counts["started"] == 0
    await room.contact.Predict(request(photo), timeout=30)


async def test_a_message_beyond_the_limit(build_room: Build, photo: bytes) -> None:
    room = await build_room(server={"max_request_bytes": MIB})
    code, _ = await refusal(room.contact.Predict(request(bytes(2 * MIB)), timeout=60))
    assert code == "RESOURCE_EXHAUSTED"
    await still_serves(room, photo)


async def test_metadata_beyond_the_limit(build_room: Build, photo: bytes) -> None:
    room = await build_room()
    big = (("x-large", "x" * 100_000),)
    code, _ = await refusal(room.contact.Predict(request(photo), timeout=60, metadata=big))
    assert code == "RESOURCE_EXHAUSTED"
    await still_serves(room, photo)


async def test_an_item_beyond_the_limit_ends_no_stream(build_room: Build, photo: bytes) -> None:
    room = await build_room()

    async def items() -> AsyncIterator[StreamRequest]:
        yield StreamRequest(item_id="large", request=request(bytes(33 * MIB)))
        yield StreamRequest(item_id="x" * 129, request=request(photo))
        yield StreamRequest(item_id="good", request=request(photo))

    outcomes = {o.item_id: o async for o in room.contact.PredictStream(items(), timeout=60)}
    assert {o.WhichOneof("outcome") for key, o in outcomes.items() if key != "good"} == {"error"}
    assert outcomes["good"].WhichOneof("outcome") == "response"
    assert len(outcomes) == 3


async def test_uploads_beyond_the_limit(build_room: Build, photo: bytes) -> None:
    room = await build_room()

    async def chunks(count: int, size: int) -> AsyncIterator[Upload]:
        for number in range(count):
            yield Upload(file_type="" if number else "ply", chunk=bytes(size))

    for count, length in ((1, MIB + 1), (66, MIB)):
        code, reason = await refusal(room.contact.UploadMesh(chunks(count, length), timeout=60))
        assert (code, reason) == ("INVALID_ARGUMENT", "MESH_INVALID")
    await still_serves(room, photo)


async def still_serves(room: Room, photo: bytes) -> None:
    await room.contact.Predict(request(photo), timeout=30)
