from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc import aio

from interactvlm.client import AsyncClient, Endpoint, ServerUnavailableError, Tls
from interactvlm.errors import InputError
from interactvlm.v1 import contact_service_pb2_grpc
from tests.client.authority import Authority
from tests.client.stub_contact_service import Stub


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
async def secure_target(authority: Authority) -> AsyncIterator[str]:
    """A server that wants a client certificate of the same authority."""
    certificate, key = authority.issue("server")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=authority.ca.read_bytes(),
        require_client_auth=True,
    )
    server = aio.server()
    contact_service_pb2_grpc.add_ContactServiceServicer_to_server(Stub(), server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def test_mutual_tls(secure_target: str, authority: Authority) -> None:
    tls = Tls(authority.ca, *authority.issue("client"))
    async with AsyncClient(Endpoint(secure_target, tls=tls, token="secret")) as client:
        assert (await client.server_info()).version == "7"


async def test_without_the_right_certificates_nobody_is_reached(
    secure_target: str, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    for tls in (
        Tls(authority.ca),
        Tls(authority.ca, *stranger.issue("forged")),
        Tls(stranger.ca, *authority.issue("client")),
        None,
    ):
        async with AsyncClient(Endpoint(secure_target, tls=tls)) as client:
            with pytest.raises(ServerUnavailableError, match="cannot be reached"):
                await client.server_info(timeout=20)


@pytest.mark.parametrize("target", ["localhost", "localhost:", "localhost:http", "", "https://localhost:443"])
def test_a_target_needs_a_port(target: str) -> None:
    with pytest.raises(InputError, match="must be HOST:PORT"):
        Endpoint(target)


@pytest.mark.parametrize(
    "target", ["contacts.example:443", "dns:///contacts.example:443", "10.0.0.1:50051", "ipv4:127.0.0.1:1,10.0.0.1:2"]
)
def test_a_token_does_not_leave_the_machine_unencrypted(target: str) -> None:
    with pytest.raises(InputError, match="unencrypted"):
        Endpoint(target, token="secret")
    assert "secret" not in repr(Endpoint(target, token="secret", tls=Tls()))


@pytest.mark.parametrize("target", ["localhost:1", "127.0.0.1:1", "[::1]:1", "dns:///localhost:1", "unix:/tmp/s"])
def test_on_this_machine_it_may(target: str) -> None:
    assert Endpoint(target, token="secret").read_token() == "secret"


def test_halves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="go together"):
        Tls(certificate=tmp_path / "client.pem")
    with pytest.raises(InputError, match="given twice"):
        Endpoint("localhost:1", token="secret", token_file=tmp_path / "token")
    with pytest.raises(InputError, match="cannot be read"):
        Endpoint("localhost:1", tls=Tls(tmp_path / "none.pem")).open_channel()
    with pytest.raises(InputError, match="cannot be read"):
        Endpoint("localhost:1", token_file=tmp_path / "none").read_token()


async def test_several_addresses_are_used_in_turn() -> None:
    servers, ports, stubs = [], [], [Stub(), Stub()]
    for stub in stubs:
        server = aio.server()
        contact_service_pb2_grpc.add_ContactServiceServicer_to_server(stub, server)
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        servers.append(server)
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    async with AsyncClient(target) as client:
        deadline = time.monotonic() + 20
        while not all(stub.requests for stub in stubs):  # the second connection may take a moment
            await client.predict(np.zeros((16, 16, 3), np.uint8))
            assert time.monotonic() < deadline
        await servers[0].stop(0)
        for _ in range(10):  # the other one is enough
            await client.predict(np.zeros((16, 16, 3), np.uint8))
    await servers[1].stop(0)
