from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc import aio

from interactvlm.client import AsyncClient, Endpoint, ServerUnavailableError, Tls
from interactvlm.errors import InputError
from interactvlm.v1 import contact_service_pb2_grpc
from tests.client.stub_contact_service import Stub


@dataclass(frozen=True)
class Authority:
    """A certificate authority that lives as long as a test."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", ec.generate_private_key(ec.SECP256R1()))
        object.__setattr__(self, "_certificate", self._sign(self.name, self._key.public_key(), authority=True))
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def ca(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate_file.write_bytes(self._sign(name, key.public_key()).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file

    def _sign(self, name: str, public_key: ec.EllipticCurvePublicKey, *, authority: bool = False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        alternatives = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(self._key, hashes.SHA256())
        )


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


@pytest.mark.parametrize("target", ["localhost", "localhost:", "localhost:http", ""])
def test_a_target_needs_a_port(target: str) -> None:
    with pytest.raises(InputError, match="must be HOST:PORT"):
        Endpoint(target)


@pytest.mark.parametrize("target", ["contacts.example:443", "dns:///contacts.example:443", "10.0.0.1:50051"])
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
