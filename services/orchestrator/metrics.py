"""What the orchestrator counts beyond what the chassis counts for every service."""

from __future__ import annotations

from prometheus_client import Counter

from services.runtime.metrics import REGISTRY

__all__ = ["EXTRA_REQUESTS"]

EXTRA_REQUESTS = Counter(
    "interactvlm_stage_extra_requests",
    "Requests to a stage beyond one a call, by kind (retry, hedge).",
    ["stage", "kind"],
    registry=REGISTRY,
)
