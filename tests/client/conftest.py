from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from grpc import aio
from PIL import Image

from interactvlm.v1 import contact_service_pb2_grpc
from tests.client.stub_contact_service import Stub


@pytest.fixture
def photo() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 48), 40).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


@dataclass
class Served:
    stub: Stub
    target: str
    server: aio.Server


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    server = aio.server()
    stub = Stub()
    contact_service_pb2_grpc.add_ContactServiceServicer_to_server(stub, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Served(stub, f"127.0.0.1:{port}", server)
    await server.stop(0)
