from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interactvlm.errors import InputError
from services.orchestrator.config import OrchestratorConfig
from services.orchestrator.service import BatchService, ContactService
from services.runtime.config import load_config
from services.runtime.process import run


def test_without_stages_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(OrchestratorConfig, lambda config: [ContactService(config), BatchService()], []) == 2
    assert capsys.readouterr().err == "error: vlm.targets: is empty; name replicas as HOST:PORT or dns:///HOST:PORT\n"


def test_one_file_configures_everything(tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.toml"
    file.write_text(
        "[server]\nport = 50051\n"
        '[vlm]\ntargets = ["dns:///vlm:50052"]\n[vlm.client]\ntls_ca = "ca.pem"\n'
        "[balancing]\nhedge_ratio = 0.0\n[replay]\nttl_seconds = 60\n"
    )
    flags = ["--config", str(file), "--mvloc.targets", "127.0.0.1:1,127.0.0.1:2"]
    config = load_config(OrchestratorConfig, environment={"INTERACTVLM_PREDICT_MAX_PENDING": "9"}, arguments=flags)
    assert config.vlm.targets == ("dns:///vlm:50052",)
    assert config.vlm.client.secure
    assert config.mvloc.targets == ("127.0.0.1:1", "127.0.0.1:2")
    assert (config.predict.max_pending, config.replay.ttl_seconds) == (9, 60.0)


async def test_it_waits_for_its_stages(build_house, start_server, tmp_path: Path) -> None:
    house = await build_house()
    seen = await house.service.admin("replicas", {})
    assert [replica["serving"] for stage in seen.values() for replica in stage] == [True, True]
    with pytest.raises(InputError, match="known: replicas"):
        await house.service.admin("reload", {})
    config = load_config(
        OrchestratorConfig,
        environment={},
        arguments=[
            "--vlm.targets=127.0.0.1:1",
            "--mvloc.targets=127.0.0.1:1",
            f"--meshes.folder={tmp_path / 'other'}",
        ],
    )
    waiting = ContactService(config)
    loading = asyncio.create_task(waiting.load())
    done, _ = await asyncio.wait({loading}, timeout=0.3)
    assert not done
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    await waiting.close()
