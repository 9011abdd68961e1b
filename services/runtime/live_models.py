"""The checkpoints a stage holds: one, or two for a while (canary, rollback, replacing one without a gap).

A request takes its model when it arrives and keeps it to its end; a checkpoint that was replaced or unloaded leaves
memory with the last such request. Loading goes on beside the answering: only the warm-up takes the device's thread.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from interactvlm.config import Settings
from interactvlm.errors import InputError
from interactvlm.types import ModelIdentity
from services.runtime.device import DeviceWorker
from services.runtime.errors import CheckpointNotLive, Loading, Unavailable
from services.runtime.metrics import CHECKPOINT_REQUESTS

__all__ = ["Canary", "LiveModels", "StageModel"]

_log = logging.getLogger(__name__)
_MOST = 2
_MODEL_KEYS = ("model", "vision_tower", "body")


class StageModel(Protocol):
    """A checkpoint's part of one stage."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights these are."""
        ...

    def warm_up(self) -> None:
        """Compute once whatever the first request would wait for; runs on the device's thread."""
        ...


@dataclass(frozen=True, slots=True)
class Canary:
    """A second checkpoint to hold from the start.

    Attributes:
        model: its folder; empty for none.
        vision_tower: as in the settings of the first.
        body: as in the settings of the first.
        weight: share of the requests that name no checkpoint, 0 to 1.
    """

    model: str = ""
    vision_tower: str = ""
    body: str = ""
    weight: float = 0.0

    def __post_init__(self) -> None:
        """Raises InputError."""
        _check_weight("canary.weight", self.weight)


M = TypeVar("M", bound=StageModel)


@dataclass(slots=True)
class _Live(Generic[M]):
    model: M
    settings: Settings
    weight: float
    credit: float = 0.0


class LiveModels(Generic[M]):
    """Holds a stage's checkpoints, chooses one for each request, answers the operator's commands.

    Args:
        load: settings to a loaded model; runs on a thread of its own.
        worker: the device's thread, for warm-ups.
    """

    def __init__(self, load: Callable[[Settings], M], worker: DeviceWorker) -> None:
        self._load = load
        self._worker = worker
        self._live: dict[str, _Live[M]] = {}
        self._in_memory: weakref.WeakSet[M] = weakref.WeakSet()
        self._changing = asyncio.Lock()

    async def start(self, settings: Settings, canary: Canary) -> None:
        """Load what the configuration names.

        Raises:
            CheckpointError, InputError, MissingDependencyError: a checkpoint cannot be loaded.
        """
        weight = canary.weight if canary.model else 0.0
        await self._add(settings, 1.0 - weight)
        if canary.model:
            second = replace(settings, model=canary.model, vision_tower=canary.vision_tower, body=canary.body)
            await self._add(second, weight)

    def choose(self, checkpoint_sha256: str = "") -> M:
        """The model for a request: the pinned one, else by weight (evenly spread, not by chance).

        Raises:
            CheckpointNotLive: the pinned one is not held.
            Loading: none is.
        """
        if checkpoint_sha256:
            named = self._named(checkpoint_sha256)
            CHECKPOINT_REQUESTS.labels(checkpoint_sha256, "pinned").inc()
            return named.model
        if not self._live:
            raise Loading("no checkpoint is in memory yet", retry_after=1.0)
        total = 0.0
        for live in self._live.values():
            live.credit += live.weight
            total += live.weight
        chosen = max(self._live.values(), key=lambda live: (live.credit, live.weight))
        chosen.credit -= total
        CHECKPOINT_REQUESTS.labels(chosen.model.identity.checkpoint_hash, "by weight").inc()
        return chosen.model

    def default(self) -> M:
        """The model with the greatest weight; raises Loading."""
        if not self._live:
            raise Loading("no checkpoint is in memory yet", retry_after=1.0)
        return max(self._live.values(), key=lambda live: live.weight).model

    def weights(self) -> list[tuple[M, float]]:
        """All models and their shares of unpinned requests, which add up to 1."""
        total = sum(live.weight for live in self._live.values()) or 1.0
        return [(live.model, live.weight / total) for live in self._live.values()]

    def close(self) -> None:
        """Let go of all models."""
        self._live.clear()
        gc.collect()

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Answer "models", "load", "reload", "weights" or "unload"; None for another command.

        load: `model` (and `vision_tower`, `body`) beside the present one, with `weight` (default 0).
        reload: the same in place of the checkpoint with the greatest weight, whose weight it takes over; without
        `model` the same folder is read again.
        weights: {sha256: weight, ...}; those not named keep theirs.
        unload: `checkpoint_sha256`.

        Raises:
            InputError: an argument is missing, unknown or out of range.
            CheckpointNotLive: a named checkpoint is not held.
            Unavailable: two checkpoints are in memory already.
        """
        match command:
            case "models":
                pass
            case "load":
                _only(arguments, *_MODEL_KEYS, "weight")
                if not arguments.get("model"):
                    raise InputError("model", "is missing; name a checkpoint folder")
                weight = _check_weight("weight", arguments.get("weight", 0.0))
                await self._add(self._settings(arguments), weight)
            case "reload":
                _only(arguments, *_MODEL_KEYS)
                await self._replace(self._settings(arguments))
            case "weights":
                for name in arguments:
                    self._named(name)
                self._set_weights({name: _check_weight(name, value) for name, value in arguments.items()})
            case "unload":
                _only(arguments, "checkpoint_sha256")
                await self._unload(str(arguments.get("checkpoint_sha256", "")))
            case _:
                return None
        return {"models": [self._describe(live) for live in self._live.values()], "in_memory": len(self._in_memory)}

    def _named(self, sha256: str) -> _Live[M]:
        try:
            return self._live[sha256]
        except KeyError:
            raise CheckpointNotLive(
                f"checkpoint_sha256: {sha256[:64]} is not live here; live: {', '.join(self._live)}"
            ) from None

    async def _add(self, settings: Settings, weight: float) -> None:
        async with self._changing:
            model = await self._prepare(settings)
            sha256 = model.identity.checkpoint_hash
            if sha256 in self._live:
                raise InputError("model", f"is checkpoint {sha256}, which is live already")
            self._live[sha256] = _Live(model, settings, weight)

    async def _replace(self, settings: Settings) -> None:
        async with self._changing:
            old = self.default().identity.checkpoint_hash
            model = await self._prepare(settings)
            sha256 = model.identity.checkpoint_hash
            if sha256 != old and sha256 in self._live:
                raise InputError("model", f"is checkpoint {sha256}, which is live already; set its weight instead")
            gone = self._live.pop(old)
            self._live[sha256] = _Live(model, settings, gone.weight)
            del gone
            await self._worker.run(gc.collect)  # models hold reference cycles

    async def _prepare(self, settings: Settings) -> M:
        # The device's thread lets go of the batch it ran last, and with it of a model that was unloaded.
        await self._worker.run(gc.collect)
        if len(self._in_memory) >= _MOST:
            raise Unavailable(
                f"{len(self._in_memory)} checkpoints are in memory, the limit is {_MOST}: unload one, or wait until "
                "the requests of one that was unloaded have ended",
                retry_after=5.0,
            )
        _log.info("loading a checkpoint", extra={"fields": {"model": settings.model}})
        model = await asyncio.to_thread(self._load, settings)
        self._in_memory.add(model)
        await self._worker.run(model.warm_up)
        _log.info("a checkpoint is ready", extra={"fields": {"checkpoint_sha256": model.identity.checkpoint_hash}})
        return model

    def _settings(self, arguments: Mapping[str, Any]) -> Settings:
        if not self._live:
            raise Loading("no checkpoint is in memory yet", retry_after=1.0)
        present = max(self._live.values(), key=lambda live: live.weight).settings
        # Another folder finds its companions beside itself unless they are named.
        unnamed = present if "model" not in arguments else Settings()
        named = {key: str(arguments.get(key, getattr(unnamed, key))) for key in _MODEL_KEYS}
        return replace(present, model=named["model"], vision_tower=named["vision_tower"], body=named["body"])

    def _set_weights(self, weights: Mapping[str, float]) -> None:
        merged = {name: weights.get(name, live.weight) for name, live in self._live.items()}
        if not sum(merged.values()):
            raise InputError("weights", "are all zero; one checkpoint must answer")
        for name, live in self._live.items():
            live.weight, live.credit = merged[name], 0.0

    async def _unload(self, sha256: str) -> None:
        async with self._changing:
            self._forget(sha256)
            await self._worker.run(gc.collect)

    def _forget(self, sha256: str) -> None:
        rest = [live.weight for name, live in self._live.items() if name != sha256]
        if not sha256 or not sum(rest):
            raise InputError("checkpoint_sha256", "must name a checkpoint beside which another with a weight is live")
        self._named(sha256)
        del self._live[sha256]

    def _describe(self, live: _Live[M]) -> dict[str, Any]:
        identity = live.model.identity
        share = {model.identity.checkpoint_hash: weight for model, weight in self.weights()}
        return {
            "name": identity.name,
            "model": live.settings.model,
            "checkpoint_sha256": identity.checkpoint_hash,
            "weight": share[identity.checkpoint_hash],
        }


def _only(arguments: Mapping[str, Any], *known: str) -> None:
    for name in arguments:
        if name not in known:
            raise InputError(name, f"is not an argument; known: {', '.join(known)}")


def _check_weight(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InputError(field, f"is {value!r}; it must be a number between 0 and 1")
    return float(value)
