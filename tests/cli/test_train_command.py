from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from interactvlm.cli.app import app
from interactvlm.errors import CheckpointError, InputError


def config(folder: Path) -> Path:
    path = folder / "config.toml"
    path.write_text(
        f'[run]\nfolder = "{folder / "run"}"\ndevice = "cpu"\n[[data]]\nkind = "shards"\npath = "{folder / "none"}"\n'
    )
    return path


def fails(*options: str) -> BaseException:
    result = CliRunner().invoke(app, ["train", *options])
    assert result.exception is not None
    return result.exception


def test_what_is_wrong_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    missing = fails("--config", str(tmp_path / "none.toml"))
    assert isinstance(missing, InputError)
    assert "cannot be read" in str(missing)
    assert "must be a positive number" in str(fails("--config", str(config(tmp_path)), "--minutes", "0"))
    assert "which does not exist" in str(fails("--config", str(config(tmp_path))))


def test_there_must_be_something_to_export(tmp_path: Path) -> None:
    error = fails("--config", str(config(tmp_path)), "--export-only")
    assert isinstance(error, CheckpointError)
    assert "holds no checkpoint" in str(error)


def test_a_run_is_exported_without_training(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path = config(tmp_path)
    checkpoint = tmp_path / "run" / "step-0000007"
    checkpoint.mkdir(parents=True)
    save_file({"model.mm_projector.bias": torch.ones(3)}, checkpoint / "weights.safetensors")
    state = {"step": 7, "seconds": 1.0, "photos": 8, "recipe": "r"}
    (checkpoint / "state.json").write_text(json.dumps(state))
    result = CliRunner().invoke(app, ["train", "--config", str(path), "--export-only", "--json"])
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    out = tmp_path / "run" / "export-0000007"
    assert (answer["checkpoint"], answer["exported"]) == ("step-0000007", str(out))
    assert json.loads((out / "manifest.json").read_text())["trained"] is True
