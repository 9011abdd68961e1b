"""What tests of servers share: certificates made on the fly, a tokens file, servers in this process."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.runtime.config import ServerConfig
from services.runtime.server import Server, Service


@dataclass(frozen=True)
class KeyPair:
    """Files of one certificate."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of the test's own; `issue` writes key pairs into `folder`."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / f"{name.replace(' ', '-')}.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, common_name: str, *, file: str = "", expired: bool = False) -> KeyPair:
        """A certificate for localhost and 127.0.0.1 in the name of `common_name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - (2 * day if expired else day / 24))
            .not_valid_after(now + (-day if expired else day))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        stem = file or common_name
        pair = KeyPair(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority whose files live as long as the test."""
    return Authority(tmp_path)


@dataclass(frozen=True)
class TokenEntry:
    """One token for `write_tokens`."""

    text: str
    owner: str
    scopes: Sequence[str] = ("*",)
    extra: str = ""


def write_tokens_file(path: Path, tokens: Sequence[TokenEntry]) -> Path:
    """Write a tokens file as the chassis reads it."""
    path.write_text(
        "\n".join(
            f'[[tokens]]\nsha256 = "{hashlib.sha256(one.text.encode()).hexdigest()}"\nowner = "{one.owner}"\n'
            f"scopes = [{', '.join(repr(scope) for scope in one.scopes)}]\n{one.extra}\n"
            for one in tokens
        )
    )
    return path


@pytest.fixture
def token_entry() -> type[TokenEntry]:
    """The class of entries for `write_tokens`."""
    return TokenEntry


@pytest.fixture
def write_tokens(tmp_path: Path) -> Callable[..., Path]:
    """Writes (or rewrites) the test's tokens file from `TokenEntry`s."""
    return lambda *tokens: write_tokens_file(tmp_path / "tokens.toml", tokens)


StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """`await start_server(service, ..., host=..., tokens_file=...)`: a server on loopback, stopped with the test."""
    started: list[Server] = []

    async def start(*services: Service, tracing: Any = None, **settings: Any) -> Server:
        server = Server(services, ServerConfig(**settings), tracing=tracing)
        started.append(server)
        await server.start()
        return server

    yield start
    for server in reversed(started):
        await server.stop(grace=0)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., grpc.aio.Channel]]:
    """`connect(server)`: a plain channel to a server of this process, closed with the test."""
    channels: list[grpc.aio.Channel] = []

    def make(
        server: Server,
        credentials: grpc.ChannelCredentials | None = None,
        *,
        options: Sequence[tuple[str, Any]] = (),
    ) -> grpc.aio.Channel:
        target = f"127.0.0.1:{server.port}"
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        if credentials is None:
            channel = grpc.aio.insecure_channel(target, options)
        else:
            channel = grpc.aio.secure_channel(target, credentials, options)
        channels.append(channel)
        return channel

    yield make
    for channel in channels:
        await channel.close()
