from __future__ import annotations

import socket

import pytest

from interactvlm.errors import InputError
from services.orchestrator.budgets import Budget, LatencyWindow
from services.orchestrator.config import BalancingConfig, PredictConfig
from services.orchestrator.discovery import Address, Discovery


async def test_static_targets_are_the_replicas() -> None:
    found = Discovery(["10.0.0.1:50051", "[::1]:50052"], field="vlm.targets")
    assert not found.changes
    assert await found.addresses() == {Address("10.0.0.1:50051"), Address("[::1]:50052")}


async def test_a_name_is_every_address_it_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = ["10.0.0.1", "10.0.0.2"]

    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        if not peers:
            raise socket.gaierror("no such name")
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (peer, port)) for peer in peers]
        return [*found, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", port, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = Discovery(["dns:///vlm.cluster:50051"], field="vlm.targets")
    assert found.changes
    six = Address("[fd00::1]:50051", "vlm.cluster")
    assert await found.addresses() == {*(Address(f"{peer}:50051", "vlm.cluster") for peer in peers), six}
    peers[:] = ["10.0.0.3"]
    assert await found.addresses() == {Address("10.0.0.3:50051", "vlm.cluster"), six}
    peers.clear()  # the name server is away: what was known stays
    assert await found.addresses() == {Address("10.0.0.3:50051", "vlm.cluster"), six}


@pytest.mark.parametrize("targets", [[], ["vlm"], ["vlm:"], [":1"], ["vlm:0"], ["vlm:70000"], ["http://vlm:1/x:2"]])
def test_bad_targets_are_refused(targets: list[str]) -> None:
    with pytest.raises(InputError, match=r"vlm\.targets"):
        Discovery(targets, field="vlm.targets")


def test_a_budget_is_a_share_of_the_calls() -> None:
    budget = Budget(ratio=0.25, burst=2.0)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(4):
        budget.earn()
    assert [budget.spend() for _ in range(2)] == [True, False]


def test_the_percentile_is_of_the_last_calls() -> None:
    window = LatencyWindow()
    for _ in range(31):
        window.add(1.0)
    assert window.p95 is None
    for i in range(600):
        window.add(i / 1000)
    assert window.p95 == pytest.approx(0.572, abs=0.02)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (BalancingConfig, "resolve_seconds", 0.0),
        (BalancingConfig, "max_attempts", 0),
        (BalancingConfig, "hedge_ratio", 1.5),
        (PredictConfig, "max_in_flight", 0),
    ],
)
def test_constants_out_of_range_are_refused(kind: type, field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        kind(**{field: value})
