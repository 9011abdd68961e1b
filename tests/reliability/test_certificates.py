"""Certificates, keys and finally the authority itself are replaced under load, between all services: no call fails."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from interactvlm.client import AsyncClient, Endpoint, Tls
from interactvlm.types import WholePhoto
from tests.client.authority import Authority
from tests.reliability.load import Load
from tests.reliability.processes import House, eventually
from tests.reliability.rooms import Size

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEADLINE = 30.0
#: Connections are renewed this often, so that each certificate is really used.
AGE = 2


@dataclass
class Secured:
    """A house whose services all speak mutual TLS from the same files."""

    house: House
    folder: Path
    trusted: Path

    def trust(self, *authorities: Authority) -> None:
        self.trusted.write_bytes(b"".join(authority.ca.read_bytes() for authority in authorities))

    def issue(self, authority: Authority) -> bytes:
        """New pairs for everybody; the servers' certificate as PEM."""
        for name in ("localhost", "orchestrator"):
            for path in authority.issue(name):
                path.replace(self.folder / "live" / path.name)
        return (self.folder / "live" / "localhost.pem").read_bytes()

    async def until_shown(self, certificate: bytes) -> None:
        """Wait until every server shows this certificate to whoever connects."""
        wanted = ssl.PEM_cert_to_DER_cert(certificate.decode())

        def shown() -> bool:
            return all(
                ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", process.port))) == wanted
                for process in self.house.processes
            )

        await eventually(shown, "every server shows the new certificate")


@pytest_asyncio.fixture(loop_scope="session")
async def secured(tmp_path: Path) -> AsyncIterator[tuple[Secured, Authority]]:
    live = tmp_path / "live"
    live.mkdir()
    server = ["--server.tls_certificate", str(live / "localhost.pem"), "--server.tls_key", str(live / "localhost.key")]
    server += ["--server.tls_client_ca", str(live / "trusted.pem"), "--server.delegates", "orchestrator"]
    server += ["--server.max_connection_age_seconds", str(AGE)]
    calls = [
        word
        for stage in ("vlm", "mvloc")
        for flag, file in (("ca", "trusted.pem"), ("certificate", "orchestrator.pem"), ("key", "orchestrator.key"))
        for word in (f"--{stage}.client.tls_{flag}", str(live / file))
    ]
    house = House.plan(
        tmp_path, replicas=1, orchestrators=1, stage_arguments=server, orchestrator_arguments=[*server, *calls]
    )
    made, authority = Secured(house, tmp_path, live / "trusted.pem"), Authority(tmp_path, "first")
    made.trust(authority)
    made.issue(authority)
    try:
        await house.start()
        yield made, authority
    finally:
        await asyncio.to_thread(house.reap)


async def test_no_call_fails(secured: tuple[Secured, Authority], photo: bytes, size: Size, tmp_path: Path) -> None:
    house, first = secured
    second = Authority(tmp_path, "second")
    both = tmp_path / "both.pem"
    both.write_bytes(first.ca.read_bytes() + second.ca.read_bytes())
    (address,) = (orchestrator.address for orchestrator in house.house.orchestrators)
    old, new = (
        AsyncClient(Endpoint(address, tls=Tls(both, *authority.issue("alice", file=f"alice-{authority.name}"))))
        for authority in (first, second)
    )
    async with old, new:
        client = old
        async with Load(
            lambda: client.predict(photo, person=WholePhoto(), timeout=DEADLINE), DEADLINE, workers=4
        ) as load:
            await load.until("OK", size.calls)
            for _ in range(size.rounds):  # the same authority signs anew
                await house.until_shown(house.issue(first))
                await load.until("OK", size.calls)
            house.trust(first, second)  # both count, ...
            await asyncio.sleep(AGE)
            await load.until("OK", size.calls)
            await house.until_shown(house.issue(second))  # ... the new one signs, ...
            client = new
            await asyncio.sleep(2 * AGE)
            await load.until("OK", size.calls)
            house.trust(second)  # ... and the old one is forgotten
            await asyncio.sleep(2 * AGE)
            await load.until("OK", size.calls)
    failed = [one for one in load.ended if one.code != "OK"]
    assert not failed, (load.codes, failed[0])
