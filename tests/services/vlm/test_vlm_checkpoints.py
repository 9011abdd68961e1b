"""Two checkpoints at once: shares, pins, replacing one under load, back again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from interactvlm.errors import CheckpointError, InputError
from interactvlm.types import Question, Task
from interactvlm.v1 import vlm_service_pb2
from interactvlm.wire import encode_question, to_tensor
from services.runtime.calls import OWNER_KEY
from services.runtime.errors import CheckpointNotLive, Unavailable
from services.runtime.live_models import Canary
from services.vlm.config import VlmConfig

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTION = encode_question(Question(Task.BINARY))


def request(shade: int = 0, checkpoint: str = "") -> Any:
    pixels = to_tensor(np.full((32, 32, 3), shade, np.uint8))
    return vlm_service_pb2.AnswerRequest(pixels=pixels, questions=[QUESTION], fast=True, checkpoint_sha256=checkpoint)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(vlm_config: VlmConfig, twin: Path, start: Any) -> AsyncIterator[Any]:
    canary = Canary(model=str(twin), vision_tower=vlm_config.vision_tower, weight=0.25)
    async with start(replace(vlm_config, canary=canary)) as running:
        yield running


async def _hashes(running: Any) -> dict[str, str]:
    info = await running.stub.GetModelInfo(vlm_service_pb2.GetModelInfoRequest())
    return {live.model.name: live.model.checkpoint_sha256 for live in info.models}


async def test_shares_and_pins(pair: Any) -> None:
    hashes = await _hashes(pair)
    assert len(set(hashes.values())) == 2
    seen = Counter([(await pair.stub.Answer(request())).model.name for _ in range(20)])
    assert seen == {"contact_release": 15, "twin": 5}
    for name, sha256 in hashes.items():
        response = await pair.stub.Answer(request(checkpoint=sha256))
        assert (response.model.name, response.model.notice) == (name, "the twin" if name == "twin" else "")
    # One checkpoint's answer is never another's, though the photo and the question are the same.
    fresh = [(await pair.stub.Answer(request(7, sha256))).cached for sha256 in hashes.values()]
    assert fresh == [False, False]


async def test_a_rollout_and_back(pair: Any) -> None:
    hashes = await _hashes(pair)
    admin = pair.service.admin
    shown = await admin("weights", {hashes["twin"]: 1.0, hashes["contact_release"]: 0.0})
    assert {model["name"]: model["weight"] for model in shown["models"]} == {"contact_release": 0.0, "twin": 1.0}
    seen = Counter([(await pair.stub.Answer(request())).model.name for _ in range(6)])
    assert seen == {"twin": 6}
    await admin("weights", {hashes["twin"]: 0.0, hashes["contact_release"]: 1.0})
    assert (await pair.stub.Answer(request())).model.name == "contact_release"
    with pytest.raises(Unavailable, match="2 checkpoints are in memory"):
        await admin("reload", {})
    shown = await admin("unload", {"checkpoint_sha256": hashes["twin"]})
    assert [model["weight"] for model in shown["models"]] == [1.0]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pair.stub.Answer(request(checkpoint=hashes["twin"]))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_replacing_the_checkpoint_under_load(pair: Any, twin: Path, vlm_config: VlmConfig) -> None:
    ending = asyncio.Event()
    served: Counter[str] = Counter()

    async def caller(number: int) -> None:
        shade = 0
        while not ending.is_set():
            shade = (shade + 1) % 256
            metadata = [(OWNER_KEY, f"caller {number}")]
            served[(await pair.stub.Answer(request(shade), metadata=metadata)).model.name] += 1

    async with asyncio.TaskGroup() as callers:
        for number in range(3):
            callers.create_task(caller(number))
        try:
            while served["contact_release"] < 3:
                await asyncio.sleep(0.01)
            arguments = {"model": str(twin), "vision_tower": vlm_config.vision_tower}
            shown = await pair.service.admin("reload", arguments)
            assert [model["name"] for model in shown["models"]] == ["twin"]
            async with asyncio.timeout(30):
                while served["twin"] < 3:
                    await asyncio.sleep(0.01)
        finally:
            ending.set()
    # The replaced one has left memory, so there is room for another.
    back = {"model": vlm_config.model, "vision_tower": vlm_config.vision_tower, "weight": 0.5}
    shown = await pair.service.admin("load", back)
    assert {model["name"]: model["weight"] for model in shown["models"]} == {
        "twin": pytest.approx(2 / 3),
        "contact_release": pytest.approx(1 / 3),
    }
    assert shown["in_memory"] == 2


@pytest.mark.parametrize(
    ("command", "arguments", "error", "message"),
    [
        ("load", {}, InputError, "model: is missing"),
        ("load", {"model": "x", "weight": 2}, InputError, "between 0 and 1"),
        ("load", {"folder": "x"}, InputError, "folder: is not an argument"),
        ("weights", {"0" * 64: 1.0}, CheckpointNotLive, "is not live"),
        ("unload", {}, InputError, "must name a checkpoint"),
        ("explode", {}, InputError, "is unknown; known: models"),
    ],
)
async def test_wrong_commands(
    running: Any, command: str, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await running.service.admin(command, arguments)


async def test_the_last_checkpoint_stays(running: Any) -> None:
    (sha256,) = (await _hashes(running)).values()
    with pytest.raises(InputError, match="beside which another"):
        await running.service.admin("unload", {"checkpoint_sha256": sha256})
    with pytest.raises(InputError, match="all zero"):
        await running.service.admin("weights", {sha256: 0})


async def test_a_broken_checkpoint_changes_nothing(running: Any, tmp_path: Path) -> None:
    before = await _hashes(running)
    with pytest.raises(CheckpointError, match="neither 'nano' nor a folder"):
        await running.service.admin("reload", {"model": str(tmp_path / "nowhere")})
    assert await _hashes(running) == before
    assert len((await running.stub.Answer(request())).answers) == 1
