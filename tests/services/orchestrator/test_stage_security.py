from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from interactvlm.v1 import contact_service_pb2, contact_service_pb2_grpc, types_pb2
from services.orchestrator.config import BalancingConfig, MeshConfig, OrchestratorConfig, StageConfig
from services.orchestrator.service import ContactService
from services.runtime.config import ClientConfig
from services.runtime.server import Server

WHOLE = types_pb2.PersonSelector(whole_photo=True)


@pytest.fixture
async def house(
    authority: Any,
    token_entry: Any,
    write_tokens: Callable[..., Path],
    start_server: Callable[..., Awaitable[Server]],
    connect: Callable[..., grpc.aio.Channel],
    fake_vlm: type,
    fake_mvloc: type,
    tmp_path: Path,
):
    """Stages behind TLS and tokens, found by name; the orchestrator's clients have tokens of their own."""
    pair = authority.issue("localhost")
    tokens = write_tokens(
        token_entry("stage-secret", "orchestrator", ("vlm", "mvloc", "delegate")),
        token_entry("alice-secret", "alice", ("contact",)),
        token_entry("carol-secret", "carol", ("batch",)),
    )
    guarded = {"tls_certificate": str(pair.certificate), "tls_key": str(pair.key), "tokens_file": str(tokens)}
    vlm, mvloc = fake_vlm(), fake_mvloc()
    ports = [(await start_server(stage, host="127.0.0.1", **guarded)).port for stage in (vlm, mvloc)]
    (tmp_path / "stage-token").write_text("stage-secret\n")
    client = ClientConfig(tls_ca=str(authority.certificate), token_file=str(tmp_path / "stage-token"))
    service = ContactService(
        OrchestratorConfig(
            vlm=StageConfig((f"dns:///localhost:{ports[0]}",), client),
            mvloc=StageConfig((f"dns:///localhost:{ports[1]}",), client),
            balancing=BalancingConfig(probe_seconds=0.5),
            meshes=MeshConfig(folder=str(tmp_path / "meshes")),
        )
    )
    server = await start_server(service, tokens_file=str(tokens))
    return vlm, contact_service_pb2_grpc.ContactServiceStub(connect(server))


async def test_the_owner_of_the_token_is_the_owner_at_the_stages(house: Any, png: bytes) -> None:
    vlm, contact = house
    request = contact_service_pb2.PredictRequest(photo=png, person=WHOLE)
    await contact.Predict(request, metadata=(("authorization", "Bearer alice-secret"),))
    assert vlm.seen[-1].owner == "alice"


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer wrong"),), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer carol-secret"),), grpc.StatusCode.PERMISSION_DENIED),
        (
            (("authorization", "Bearer alice-secret"), ("interactvlm-owner", "bob")),
            grpc.StatusCode.PERMISSION_DENIED,
        ),
    ],
)
async def test_others_are_turned_away(house: Any, png: bytes, metadata: Any, code: grpc.StatusCode) -> None:
    vlm, contact = house
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await contact.Predict(contact_service_pb2.PredictRequest(photo=png, person=WHOLE), metadata=metadata)
    assert caught.value.code() is code
    assert not vlm.calls["Answer"]
