"""Callers without the right token or certificate, and what belongs to others: refused by name, nothing is learnt."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import grpc
import pytest

from interactvlm.client.errors import ServerError, from_call
from interactvlm.v1 import (
    batch_service_pb2,
    batch_service_pb2_grpc,
    contact_service_pb2,
    mvloc_service_pb2,
    mvloc_service_pb2_grpc,
)
from interactvlm.wire import encode_contact_query
from services.orchestrator.service import BatchService
from services.runtime.config import ServerConfig
from services.runtime.server import Server
from tests.client.authority import Authority
from tests.reliability.load import request
from tests.reliability.rooms import Build, Open
from tests.reliability.stub_stage import CHECKPOINT, StubConfig, StubMvloc

pytestmark = pytest.mark.asyncio(loop_scope="session")

Upload = contact_service_pb2.UploadMeshRequest
MESH = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n"
OWNERS = {
    "alice's": 'owner = "alice"\nscopes = ["contact", "batch"]',
    "bob's": 'owner = "bob"\nscopes = ["contact", "batch"]',
    "narrow": 'owner = "carol"\nscopes = ["batch"]',
    "late": 'owner = "dave"\nscopes = ["*"]\nexpires = 2020-01-01T00:00:00Z',
}


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


ALICE, BOB = bearer("alice's"), bearer("bob's")


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    path = tmp_path / "tokens.toml"
    entries = (f'[[tokens]]\nsha256 = "{hashlib.sha256(t.encode()).hexdigest()}"\n{rest}' for t, rest in OWNERS.items())
    path.write_text("\n".join(entries))
    return str(path)


async def refusal(call: Any) -> tuple[str, str]:
    """Code and reason a call fails with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_call(caught.value, "")
    assert isinstance(error, ServerError)
    return error.code, error.reason


async def test_tokens(build_room: Build, photo: bytes, tokens: str) -> None:
    room = await build_room(server={"tokens_file": tokens})

    async def asked(metadata: Any) -> tuple[str, str]:
        return await refusal(room.contact.Predict(request(photo), timeout=30, metadata=metadata))

    assert await asked(()) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    assert await asked((("authorization", "Basic YWxpY2U6"),)) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    assert await asked(bearer("guessed")) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")
    assert await asked(bearer("late")) == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
    assert await asked(bearer("narrow")) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    assert await asked((*ALICE, ("interactvlm-owner", "bob"))) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    assert room.vlm.counts["started"] == 0
    stream = room.contact.PredictStream(iter([]), timeout=30)
    assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED
    assert await refusal(room.contact.UploadMesh(iter([Upload(file_type="obj", chunk=MESH)]), timeout=30)) == (
        "UNAUTHENTICATED",
        "TOKEN_MISSING",
    )
    await room.contact.Predict(request(photo), timeout=30, metadata=ALICE)


async def test_meshes_of_others(build_room: Build, photo: bytes, tokens: str) -> None:
    room = await build_room(server={"tokens_file": tokens})
    upload = [Upload(file_type="obj", chunk=MESH)]
    mesh = await room.contact.UploadMesh(iter(upload), timeout=30, metadata=ALICE)
    asked = request(photo, objects=[{"name": "chair", "mesh_sha256": mesh.sha256}])
    alices = await room.contact.Predict(asked, timeout=30, metadata=ALICE)
    assert any(result.surface == mesh.sha256 for result in alices.results)
    named, removal = (
        kind(name=mesh.name) for kind in (contact_service_pb2.GetMeshRequest, contact_service_pb2.DeleteMeshRequest)
    )
    for call in (
        room.contact.GetMesh(named, timeout=30, metadata=BOB),
        room.contact.DeleteMesh(removal, timeout=30, metadata=BOB),
        room.contact.Predict(asked, timeout=30, metadata=BOB),
    ):
        assert await refusal(call) == ("NOT_FOUND", "MESH_NOT_FOUND")
    # It is alice's still, and bob's own copy is bob's alone.
    await room.contact.UploadMesh(iter(upload), timeout=30, metadata=BOB)
    await room.contact.DeleteMesh(removal, timeout=30, metadata=BOB)
    assert await room.contact.GetMesh(named, timeout=30, metadata=ALICE) == mesh


async def test_a_stage_keeps_owners_apart(open_contact: Open, photo: bytes) -> None:
    """Knowing the hash is not access: a mesh that the stage holds for alice is missing for bob."""
    stage = StubMvloc(StubConfig(stage="mvloc"))
    server = Server([stage], ServerConfig())
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = mvloc_service_pb2_grpc.MvlocServiceStub(channel)
            stage.meshes["alice", "b" * 64] = 4
            import numpy as np

            located = mvloc_service_pb2.LocateObjectRequest(
                queries=[encode_contact_query(np.zeros(256, np.float32), "[SEG]")],
                checkpoint_sha256=CHECKPOINT,
                mesh_sha256="b" * 64,
            )
            await stub.LocateObject(located, timeout=30, metadata=(("interactvlm-owner", "alice"),))
            bobs = stub.LocateObject(located, timeout=30, metadata=(("interactvlm-owner", "bob"),))
            assert await refusal(bobs) == ("FAILED_PRECONDITION", "MESH_MISSING")
    finally:
        await server.stop(grace=0)


async def test_answers_of_others(build_room: Build, photo: bytes, tokens: str) -> None:
    """A request id is its owner's: another one's neither finds the answer nor learns that there is one."""
    room = await build_room(server={"tokens_file": tokens})
    asked = request(photo, request_id="c1f0b8d4-0000-4000-8000-000000000001")
    first = await room.contact.Predict(asked, timeout=30, metadata=ALICE)
    again = await room.contact.Predict(asked, timeout=30, metadata=ALICE)
    other = request(photo, request_id=asked.request_id, objects=[{"name": "chair"}])
    bobs = await room.contact.Predict(other, timeout=30, metadata=BOB)
    assert (first.replayed, again.replayed, bobs.replayed) == (False, True, False)
    assert await refusal(room.contact.Predict(other, timeout=30, metadata=ALICE)) == (
        "ALREADY_EXISTS",
        "REQUEST_ID_REUSED",
    )


async def test_jobs_ask_for_the_token_first(tokens: str) -> None:
    server = Server([BatchService()], ServerConfig(tokens_file=tokens))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            (service,) = batch_service_pb2.DESCRIPTOR.services_by_name.values()
            for method in service.methods:
                call = channel.unary_unary(f"/{service.full_name}/{method.name}")
                assert await refusal(call(b"", timeout=30)) == ("UNAUTHENTICATED", "TOKEN_MISSING")
                assert await refusal(call(b"", timeout=30, metadata=ALICE)) == ("UNIMPLEMENTED", "NOT_IMPLEMENTED")
            assert hasattr(batch_service_pb2_grpc, f"{service.name}Stub")
    finally:
        await server.stop(grace=0)


def credentials(ca: Authority, pair: tuple[Path, Path] | None = None) -> grpc.ChannelCredentials:
    certificate, key = (path.read_bytes() for path in pair) if pair else (None, None)
    return grpc.ssl_channel_credentials(ca.ca.read_bytes(), key, certificate)


async def test_client_certificates(build_room: Build, open_contact: Open, photo: bytes, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    certificate, key = ours.issue("server")
    room = await build_room(
        server={"tls_certificate": str(certificate), "tls_key": str(key), "tls_client_ca": str(ours.ca)}
    )
    bad = {
        "none": credentials(ours),
        "of a stranger": credentials(ours, theirs.issue("alice", file="stranger")),
        "expired": credentials(ours, ours.issue("alice", file="expired", expired=True)),
        "no TLS at all": None,
        "the client trusts somebody else": credentials(theirs, ours.issue("alice")),
    }
    for kind, credential in bad.items():
        contact = open_contact(room.address, credential)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await contact.Predict(request(photo), timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, kind
    good = open_contact(room.address, credentials(ours, ours.issue("alice")))
    await good.Predict(request(photo), timeout=30)


async def test_a_server_whose_certificate_expired(
    build_room: Build, open_contact: Open, photo: bytes, tmp_path: Path
) -> None:
    """Clients refuse it; a new certificate in the same files heals it without a restart."""
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("server", expired=True)
    room = await build_room(server={"tls_certificate": str(certificate), "tls_key": str(key)})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await open_contact(room.address, credentials(authority)).Predict(request(photo), timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    authority.issue("server")
    healed = open_contact(room.address, credentials(authority))
    await healed.Predict(request(photo), timeout=30, wait_for_ready=True)
