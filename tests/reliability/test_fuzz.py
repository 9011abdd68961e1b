"""Damaged bytes, photos and meshes at the public API: no crash, no stall of others, bounded memory, typed refusals."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from interactvlm.client.errors import ServerError, from_call, hides_status
from tests.reliability.corpus import METHODS, Fuzzed, fuzzed_inputs
from tests.reliability.load import request
from tests.reliability.processes import House
from tests.reliability.rooms import Open, Size

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: What a caller may be told about bytes that make no sense; INTERNAL and UNKNOWN would be faults of the server.
EXPECTED = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
}
STALL = 5.0
#: A mesh is parsed two at a time and takes several times its size, a photo two at a time; nothing may pile up.
MOST_GROWTH = 600 * 2**20
AT_ONCE = 6


async def send(channel: grpc.aio.Channel, fuzzed: Fuzzed) -> tuple[str, str]:
    """Code and reason the call ends with."""
    method = METHODS[fuzzed.method]
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    make: Any = getattr(channel, kind)(fuzzed.method)
    while True:
        call = make(iter(fuzzed.messages) if method.client_streaming else fuzzed.messages[0], timeout=60)
        try:
            if method.server_streaming:
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            if hides_status(error):  # a message met the call's end: what the server said shows the next time
                continue
            found = from_call(error, "")
            return error.code().name, found.reason if isinstance(found, ServerError) else ""
        return "OK", ""


async def test_what_nobody_should_send(
    house: House, open_contact: Open, photo: bytes, size: Size, tmp_path: Path
) -> None:
    orchestrator = house.orchestrators[0]
    inputs = list(fuzzed_inputs(seed=size.fuzzed, count=size.fuzzed))
    ended: Counter[str] = Counter()
    waits: list[float] = []
    memory: list[int] = []
    finished = asyncio.Event()
    waiting = iter(inputs)
    contact = open_contact(orchestrator.address)

    async def bystander() -> None:
        while not finished.is_set():
            began = time.monotonic()
            await contact.Predict(request(photo), timeout=60)
            waits.append(time.monotonic() - began)
            memory.append(orchestrator.resident_bytes())
            await asyncio.sleep(0.02)

    async def worker() -> None:
        async with grpc.aio.insecure_channel(orchestrator.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            for fuzzed in waiting:
                began = time.monotonic()
                code, reason = await send(channel, fuzzed)
                if code not in EXPECTED or (code != "OK" and not reason):
                    for number, message in enumerate(fuzzed.messages):
                        (tmp_path / f"message-{number}.bin").write_bytes(message)
                    raise AssertionError(f"{fuzzed.origin} to {fuzzed.method} in {tmp_path}: {code} {reason}")
                assert time.monotonic() - began < 60, fuzzed.origin
                ended[f"{fuzzed.method.rpartition('/')[2]} {code} {reason}"] += 1

    watching = asyncio.create_task(bystander())
    try:
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    finally:
        finished.set()
    await watching
    assert orchestrator.running.poll() is None
    assert sum(ended.values()) == len(inputs)
    assert {key.split()[0] for key in ended} == {method.rpartition("/")[2] for method in METHODS}
    assert max(waits) < STALL, f"somebody else waited {max(waits):.1f} s"
    assert max(memory) - memory[0] < MOST_GROWTH, f"{memory[0]} bytes grew to {max(memory)}"


async def test_noise_on_the_line(house: House, open_contact: Open, photo: bytes, size: Size) -> None:
    """Bytes that are not even HTTP/2."""
    orchestrator = house.orchestrators[0]
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    frames = [b"", b"\x00" * 9, b"\xff" * 64, b"\x00\xff\xff\x04\x00\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n"]
    for number in range(size.fuzzed // 10):
        _, writer = await asyncio.open_connection("127.0.0.1", orchestrator.port)
        writer.write((preface if number % 2 else b"") + frames[number % len(frames)] * (1 + number % 7))
        if number % 3 == 0:
            writer.transport.abort()
        else:
            writer.close()
    await open_contact(orchestrator.address).Predict(request(photo), timeout=30)
    assert orchestrator.running.poll() is None
