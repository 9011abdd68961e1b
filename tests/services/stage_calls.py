"""What tests of the stages' servers do again and again: read an error, keep the worker busy, wait for a queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


def reason(error: grpc.aio.AioRpcError) -> tuple[str, str, list[str]]:
    """(gRPC code, reason, fields) of a failed call."""
    status = rpc_status.from_call(error)
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        for message in (info, bad):
            detail.Unpack(message)
    return error.code().name, info.reason, [violation.field for violation in bad.field_violations]


@asynccontextmanager
async def held_worker(engine: Any) -> AsyncIterator[None]:
    """The engine's thread is busy for as long as the block lasts, so that what arrives waits together."""
    release = threading.Event()
    busy = asyncio.create_task(engine.worker.run(lambda: release.wait(30)))
    try:
        yield
    finally:
        release.set()
        await busy


async def waiting(engine: Any, count: int) -> None:
    """Until so many items wait or run."""
    async with asyncio.timeout(30):
        while engine.pending < count:
            await asyncio.sleep(0.005)
