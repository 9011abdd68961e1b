"""What a server counts: Prometheus metrics of the process, served on the internal port.

Histograms are in seconds. Labels are bounded: methods and reasons are ours, owners are never labels.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

__all__ = [
    "BATCH_COST",
    "BATCH_ITEMS",
    "CACHE_REQUESTS",
    "CALLS",
    "CALLS_IN_FLIGHT",
    "CALL_SECONDS",
    "CHECKPOINT_REQUESTS",
    "COMPUTE_SECONDS",
    "DROPPED",
    "PENDING",
    "QUEUE_SECONDS",
    "REGISTRY",
]

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_COSTS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)

CALLS = Counter(
    "interactvlm_calls", "Calls that ended, by gRPC code and reason.", ["method", "code", "reason"], registry=REGISTRY
)
CALL_SECONDS = Histogram(
    "interactvlm_call_seconds", "Time from arrival to end of a call.", ["method"], buckets=_SECONDS, registry=REGISTRY
)
CALLS_IN_FLIGHT = Gauge("interactvlm_calls_in_flight", "Calls inside.", registry=REGISTRY)
QUEUE_SECONDS = Histogram(
    "interactvlm_queue_seconds", "Time an item waited.", ["batcher", "priority"], buckets=_SECONDS, registry=REGISTRY
)
COMPUTE_SECONDS = Histogram(
    "interactvlm_compute_seconds", "Time a batch ran.", ["batcher"], buckets=_SECONDS, registry=REGISTRY
)
BATCH_ITEMS = Histogram("interactvlm_batch_items", "Items of a batch.", ["batcher"], buckets=_SIZES, registry=REGISTRY)
BATCH_COST = Histogram("interactvlm_batch_cost", "Cost of a batch.", ["batcher"], buckets=_COSTS, registry=REGISTRY)
PENDING = Gauge("interactvlm_pending", "Items that wait or run.", ["batcher"], registry=REGISTRY)
DROPPED = Counter("interactvlm_dropped", "Items that never ran, by reason.", ["batcher", "reason"], registry=REGISTRY)
CACHE_REQUESTS = Counter(
    "interactvlm_cache_requests", "Look-ups of a cache, by result (hit, miss).", ["cache", "result"], registry=REGISTRY
)
CHECKPOINT_REQUESTS = Counter(
    "interactvlm_checkpoint_requests",
    "Requests by the checkpoint that took them and how it was chosen (pinned, by weight).",
    ["checkpoint_sha256", "choice"],
    registry=REGISTRY,
)
