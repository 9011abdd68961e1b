from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from interactvlm.errors import InputError
from services.runtime.calls import current_call
from services.runtime.config import ServerConfig
from services.runtime.errors import QuotaExceeded, TokenExpired, TokenMissing, Unauthenticated
from services.runtime.identity import ECHO, IdentityService
from services.runtime.quotas import Quotas
from services.runtime.tls import make_server_credentials
from services.runtime.tokens import Token, TokenFile


class WhoService(IdentityService):
    """Answers with the owner it is called for."""

    async def echo(self, request: bytes, context: object) -> bytes:
        if request == b"slow":
            await asyncio.sleep(0.2)
        return current_call().owner.encode()


def bearer(token: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"), *more)


async def ask(channel: grpc.aio.Channel, metadata: Any = (), request: bytes = b"") -> str:
    answer: bytes = await channel.unary_unary(ECHO)(request, metadata=metadata, timeout=10)
    return answer.decode()


async def refusal(channel: grpc.aio.Channel, metadata: Any = ()) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, metadata)
    status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value.code().name, info.reason


async def test_tokens_decide_owner_and_scope(start_server, connect, write_tokens, token_entry):
    tokens = write_tokens(
        token_entry("t-alice", "alice", ["identity"]),
        token_entry("t-bob", "bob", ["contact"]),
        token_entry("t-old", "carol", extra="expires = 2020-01-01T00:00:00Z"),
        token_entry("t-stage", "orchestrator", ["identity", "delegate"]),
    )
    channel = connect(await start_server(WhoService(), tokens_file=str(tokens)))
    assert await ask(channel, bearer("t-alice")) == "alice"
    assert await refusal(channel) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    assert await refusal(channel, (("authorization", "Basic abc"),)) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    assert await refusal(channel, bearer("wrong")) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")
    assert await refusal(channel, bearer("t-old")) == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
    assert await refusal(channel, bearer("t-bob")) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    for_alice = ("interactvlm-owner", "alice")
    assert await ask(channel, bearer("t-stage", for_alice)) == "alice"
    assert await ask(channel, bearer("t-stage")) == "orchestrator"
    assert await refusal(channel, bearer("t-alice", ("interactvlm-owner", "bob"))) == (
        "PERMISSION_DENIED",
        "SCOPE_MISSING",
    )


async def test_quotas_are_the_owners_own(start_server, connect, write_tokens, token_entry):
    tokens = write_tokens(
        token_entry("t1", "alice", extra="requests_per_second = 0.001\nburst = 2"),
        token_entry("t2", "bob", extra="max_in_flight = 1"),
    )
    channel = connect(await start_server(WhoService(), tokens_file=str(tokens)))
    assert [await ask(channel, bearer("t1")) for _ in range(2)] == ["alice", "alice"]
    assert await refusal(channel, bearer("t1")) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    slow = asyncio.create_task(ask(channel, bearer("t2"), b"slow"))
    await asyncio.sleep(0.05)
    assert await refusal(channel, bearer("t2")) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert await slow == "bob"
    assert await ask(channel, bearer("t2")) == "bob"


def test_quota_refills_and_counts_in_flight():
    now = [0.0]
    quotas = Quotas(clock=lambda: now[0])
    token = Token("alice", requests_per_second=2.0, burst=1, max_in_flight=2)
    quotas.enter(token)
    with pytest.raises(QuotaExceeded) as caught:
        quotas.enter(token)
    assert caught.value.retry_after == pytest.approx(0.5)
    now[0] = 0.5
    quotas.enter(token)
    now[0] = 5.0
    with pytest.raises(QuotaExceeded, match="in flight"):
        quotas.enter(token)
    quotas.leave(token)
    quotas.enter(token)


def test_changed_tokens_count_and_broken_ones_do_not(write_tokens, token_entry, caplog):
    path = write_tokens(token_entry("one", "alice"))
    tokens = TokenFile(str(path), period=0.0)
    assert tokens.authenticate("Bearer one").owner == "alice"
    write_tokens(token_entry("two", "bobby"))
    assert tokens.authenticate("bearer two").owner == "bobby"
    with pytest.raises(Unauthenticated):
        tokens.authenticate("Bearer one")
    path.write_text("[[tokens]]\nowner = 7")
    assert tokens.authenticate("Bearer two").owner == "bobby"
    assert "not reloaded" in caplog.text
    with pytest.raises(TokenMissing):
        tokens.authenticate(None)
    write_tokens(token_entry("two", "bobby", extra="expires = 2001-01-01T00:00:00+00:00"))
    with pytest.raises(TokenExpired):
        tokens.authenticate("Bearer two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens = 3", "entries and nothing else"),
        ("other = 3", "entries and nothing else"),
        ('[[tokens]]\nsha256 = "abc"\nowner = "a"', "64 hex digits"),
        (f'[[tokens]]\nsha256 = "{"a" * 64}"', "owner is missing"),
        (f'[[tokens]]\nsha256 = "{"a" * 64}"\nowner = "a"\nowners = 1', "unknown key owners"),
        (f'[[tokens]]\nsha256 = "{"a" * 64}"\nowner = "a"\nburst = true', "burst has the wrong type"),
        (f'[[tokens]]\nsha256 = "{"a" * 64}"\nowner = "a"\nexpires = 2030-01-01T00:00:00', "time zone"),
        ("[[", "not valid TOML"),
    ],
)
def test_bad_tokens_file_is_refused_at_start(tmp_path, text, message):
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        TokenFile(str(path))


def credentials(authority: Any, pair: Any = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(),
        pair.key.read_bytes() if pair else None,
        pair.certificate.read_bytes() if pair else None,
    )


async def test_mutual_tls_names_the_owner_and_refuses_strangers(start_server, connect, authority, tmp_path):
    pair = authority.issue("localhost")
    server = await start_server(
        WhoService(),
        tls_certificate=str(pair.certificate),
        tls_key=str(pair.key),
        tls_client_ca=str(authority.certificate),
        delegates=("orchestrator",),
    )
    alice = connect(server, credentials(authority, authority.issue("alice")))
    assert await ask(alice) == "alice"
    assert await refusal(alice, (("interactvlm-owner", "bob"),)) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    ours = connect(server, credentials(authority, authority.issue("orchestrator")))
    assert await ask(ours, (("interactvlm-owner", "bob"),)) == "bob"
    (tmp_path / "other").mkdir()
    stranger = type(authority)(tmp_path / "other", "other authority").issue("alice")
    bad = {
        "none": credentials(authority),
        "stranger": credentials(authority, stranger),
        "expired": credentials(authority, authority.issue("late", expired=True)),
    }
    for kind, credential in bad.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(connect(server, credential))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, kind
    with pytest.raises(grpc.aio.AioRpcError):
        await ask(connect(server))


def served_name(port: int) -> str:
    """Common name of the certificate a new connection is shown."""
    import ssl

    from cryptography import x509
    from cryptography.x509.oid import NameOID

    certificate = x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", port)).encode())
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


async def test_certificate_rotates_without_restart(start_server, connect, authority, monkeypatch, caplog):
    from services.runtime import server as server_module

    monkeypatch.setattr(server_module, "make_server_credentials", lambda c: make_server_credentials(c, period=0.0))
    pair = authority.issue("first", file="live")
    server = await start_server(WhoService(), tls_certificate=str(pair.certificate), tls_key=str(pair.key))
    channel = connect(server, credentials(authority))
    assert await ask(channel) == "anonymous"
    assert await asyncio.to_thread(served_name, server.port) == "first"
    authority.issue("second", file="live")
    assert await asyncio.to_thread(served_name, server.port) == "second"
    assert await ask(channel) == "anonymous"
    # A certificate whose key has not arrived yet changes nothing.
    third = authority.issue("third")
    shutil.copy(third.certificate, pair.certificate)
    assert await asyncio.to_thread(served_name, server.port) == "second"
    assert "not reloaded" in caplog.text
    shutil.copy(third.key, pair.key)
    assert await asyncio.to_thread(served_name, server.port) == "third"


def test_unusable_certificates_end_in_one_sentence(tmp_path, authority):
    pair, other = authority.issue("a"), authority.issue("b")
    for certificate, key in ((pair.certificate, other.key), (tmp_path / "none", pair.key), (pair.key, pair.key)):
        config = ServerConfig(tls_certificate=str(certificate), tls_key=str(key))
        with pytest.raises(InputError, match="cannot be used"):
            make_server_credentials(config)
    assert make_server_credentials(ServerConfig()) is None


def test_other_machines_need_a_guard(tmp_path: Path):
    for host in ("0.0.0.0", "[::]", "10.1.2.3", "my-host"):  # noqa: S104 - the refusal is tested
        with pytest.raises(InputError, match="allow_anonymous"):
            ServerConfig(host=host)
        assert ServerConfig(host=host, allow_anonymous=True).host == host
    for host in ("127.0.0.1", "[::1]", "localhost"):
        assert ServerConfig(host=host).host == host
