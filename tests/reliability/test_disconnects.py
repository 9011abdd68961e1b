"""Clients that leave in the middle: their work ends with them, everybody else's goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from interactvlm.client import AsyncClient, Endpoint, PhotoRequest
from interactvlm.types import WholePhoto
from interactvlm.v1 import contact_service_pb2
from services.runtime import metrics
from tests.reliability.load import request
from tests.reliability.processes import eventually
from tests.reliability.rooms import Build, Open, Room

pytestmark = pytest.mark.asyncio(loop_scope="session")

StreamRequest = contact_service_pb2.PredictStreamRequest
Upload = contact_service_pb2.UploadMeshRequest


class Cable:
    """A TCP connection between client and server that can be cut without a farewell."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._writers: list[asyncio.StreamWriter] = []
        self._pumping: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._pumping, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, int(self._port))
        self._writers += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._pumping.add(task)
            task.add_done_callback(self._pumping.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(2**16):
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest_asyncio.fixture(loop_scope="session")
async def room(build_room: Build) -> Room:
    return await build_room(vlm={"batch_seconds": 0.2}, predict={"max_in_flight": 8})


@pytest_asyncio.fixture(loop_scope="session")
async def cable(room: Room) -> AsyncIterator[tuple[Cable, str]]:
    made = Cable(room.address)
    yield made, await made.open()
    await made.close()


async def until_nobody_is_served(room: Room) -> None:
    """No call inside, nothing waits or runs on either stage."""

    def idle() -> bool:
        (family,) = metrics.CALLS_IN_FLIGHT.collect()
        inside = family.samples[0].value
        return inside == 0 and room.vlm.pending == 0 and room.mvloc.pending == 0

    await eventually(idle, "nobody is served any more")


async def endless(photo: bytes) -> AsyncIterator[StreamRequest]:
    number = 0
    while True:
        yield StreamRequest(item_id=str(number), request=request(photo))
        number += 1


async def test_a_stream_is_cancelled_in_the_middle(room: Room, open_contact: Open, photo: bytes) -> None:
    for taken in (0, 1, 5):
        call = open_contact(room.address).PredictStream(endless(photo), timeout=60)
        await call.initial_metadata()
        for _ in range(taken):
            await call.read()
        call.cancel()
        await until_nobody_is_served(room)
    await room.contact.Predict(request(photo), timeout=30)


async def test_a_client_that_stops_reading_holds_nobody_up(room: Room, open_contact: Open, photo: bytes) -> None:
    call = open_contact(room.address).PredictStream(endless(photo), timeout=60)
    await call.read()
    for _ in range(5):  # the silent client's items are bounded: others are served between them
        await room.contact.Predict(request(photo), timeout=30)
    call.cancel()
    await until_nobody_is_served(room)


async def test_the_line_is_cut(room: Room, open_contact: Open, cable: tuple[Cable, str], photo: bytes) -> None:
    """Single call, stream and upload at once; all of them learn it, and the server lets go of all."""
    line, address = cable
    contact = open_contact(address)

    async def stall() -> AsyncIterator[Upload]:
        yield Upload(file_type="obj", chunk=b"v 0 0 0\n")
        await asyncio.sleep(60)

    stream = contact.PredictStream(endless(photo), timeout=60)
    await stream.read()
    upload = contact.UploadMesh(stall(), timeout=60)
    single = contact.Predict(request(photo), timeout=60)
    await eventually(lambda: room.vlm.pending > 0, "work is under way")
    line.cut()
    for call in (single, upload):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    # grpc.aio hides the status under an INTERNAL of its own where a write meets the cut (see client/stream.py)
    assert await stream.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
    await until_nobody_is_served(room)
    await room.contact.Predict(request(photo), timeout=30)


async def test_the_client_takes_a_stream_up_again(room: Room, cable: tuple[Cable, str], photo: bytes) -> None:
    """Whatever the cuts, every item has exactly one outcome, and it is an answer."""
    line, address = cable
    room.vlm.batch_seconds = 0.05
    items = [(str(number), PhotoRequest(photo, person=WholePhoto())) for number in range(40)]
    seen: list[str] = []
    async with AsyncClient(Endpoint(address)) as client:
        async for outcome in client.predict_many(items, max_in_flight=4):
            outcome.unwrap()
            seen.append(outcome.item_id)
            if len(seen) in (5, 20):
                line.cut()
    assert sorted(seen, key=int) == [item_id for item_id, _ in items]
    await until_nobody_is_served(room)


async def test_calls_that_come_and_go(room: Room, open_contact: Open, photo: bytes) -> None:
    """A hundred impatient callers leave; the patient ones among them are answered."""
    room.vlm.batch_seconds = 0.05
    contact = open_contact(room.address)
    calls = [contact.Predict(request(photo), timeout=60) for _ in range(100)]
    for number, call in enumerate(calls):
        if number % 4:
            call.cancel()
        if number % 10 == 0:
            await asyncio.sleep(0.01)
    await asyncio.gather(*calls[::4])
    await until_nobody_is_served(room)
    assert room.vlm.counts["expired_started"] == 0
