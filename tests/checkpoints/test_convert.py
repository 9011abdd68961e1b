from __future__ import annotations

import importlib.util
import json
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from interactvlm.checkpoints import convert as convert_module
from interactvlm.checkpoints.convert import convert
from interactvlm.checkpoints.manifest import verify_manifest
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.checkpoints.weight_sources import WeightSource
from interactvlm.errors import CheckpointError, MissingDependencyError


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    reader = WeightReader(folder)
    return dict(reader.tensors(list(reader.names())))


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in expected.items()
    )


def pickled_release(source: Path, target: Path) -> dict[str, torch.Tensor]:
    """The official step's own form: two pickled shards and their index, the other files beside them."""
    tensors = tensors_of(source)
    target.mkdir()
    for path in source.iterdir():
        if "safetensors" not in path.name:
            shutil.copy(path, target)
    names = sorted(tensors)
    weight_map = {}
    for i, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"pytorch_model-{i:05d}-of-00002.bin"
        torch.save(OrderedDict((name, tensors[name]) for name in part), target / shard)
        weight_map |= dict.fromkeys(part, shard)
    (target / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return tensors


def test_a_sharded_pickled_release(contact_release: Path, tmp_path: Path, left_in: Callable[[Path], set[str]]) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    tensors = pickled_release(contact_release, source)
    steps: list[str] = []
    done = convert(source, target, progress=steps.append, shard_bytes=4_000_000)
    assert same(tensors_of(target), tensors)
    assert (done.tensors, done.merged, done.left_out) == (len(tensors), 0, ())
    assert len(list(target.glob("model-*-of-00003.safetensors"))) == 3
    assert all(path.stat().st_size < 4_100_000 for path in target.glob("*.safetensors"))
    companions = {path.name for path in source.iterdir() if not path.name.startswith("pytorch_model")}
    assert companions <= {path.name for path in target.iterdir()}
    assert verify_manifest(target) == len(list(target.iterdir())) - 1
    assert any("pytorch_model-00002-of-00002.bin" in step for step in steps)
    assert any("model-00003-of-00003.safetensors" in step for step in steps)
    assert left_in(tmp_path) == {"in", "out", "contact_release"}


def test_safetensors_can_be_sharded_anew(contact_release: Path, tmp_path: Path) -> None:
    convert(contact_release, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert same(tensors_of(tmp_path / "out"), tensors_of(contact_release))


@pytest.mark.parametrize(("zipped", "container"), [(True, None), (False, "state_dict")])
def test_single_files_of_either_format(tmp_path: Path, zipped: bool, container: str | None) -> None:
    tensors = {
        "image_encoder.pos_embed": torch.randn(1, 4, 4, 8),
        "strided": torch.arange(12).reshape(3, 4).t(),
        "bf16": torch.randn(5).bfloat16(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 2),
    }
    content: Any = {container: tensors, "epoch": 3} if container else tensors
    torch.save(content, tmp_path / "sam.pth", _use_new_zipfile_serialization=zipped)
    convert(tmp_path / "sam.pth", tmp_path / "out")
    expected = {name: value.detach().contiguous() for name, value in tensors.items()}
    assert same(load_file(tmp_path / "out" / "model.safetensors"), expected)


def lora_state() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What PEFT writes around two layers, and the weights that it stands for (r 8, alpha 16: factor 2)."""
    torch.manual_seed(0)
    prefix = "base_model.model."
    weight, other = torch.randn(12, 10).bfloat16(), torch.randn(6, 10)
    a, b = torch.randn(8, 10).bfloat16(), torch.randn(12, 8).bfloat16()
    a2, b2 = torch.randn(8, 10), torch.randn(6, 8)
    norm, head, tower = torch.randn(10).bfloat16(), torch.randn(7, 10).bfloat16(), torch.randn(3)
    layer = "model.layers.0.self_attn"
    stored = {
        f"{prefix}{layer}.q_proj.lora_A.default.weight": a,
        f"{prefix}{layer}.q_proj.weight": weight,
        f"{prefix}{layer}.v_proj.base_layer.weight": other,
        f"{prefix}{layer}.v_proj.lora_A.default.weight": a2,
        f"{prefix}{layer}.v_proj.lora_B.default.weight": b2,
        f"{prefix}model.norm.weight": norm,
        f"{prefix}lm_head.original_module.weight": torch.zeros(7, 10).bfloat16(),
        f"{prefix}lm_head.modules_to_save.default.weight": head,
        f"{prefix}model.vision_tower.vision_model.embeddings": tower,
        f"{prefix}{layer}.q_proj.lora_B.default.weight": b,
    }
    merged = {
        f"{layer}.q_proj.weight": (weight.float() + 2 * (b.float() @ a.float())).bfloat16(),
        f"{layer}.v_proj.weight": other + 2 * (b2 @ a2),
        "model.norm.weight": norm,
        "lm_head.weight": head,
    }
    return stored, merged


@pytest.mark.parametrize("sharded", [True, False])
def test_lora_is_merged(tmp_path: Path, sharded: bool) -> None:
    stored, merged = lora_state()
    source = tmp_path / "in"
    source.mkdir()
    if sharded:  # the halves of an update may lie in another file than their weight
        names = list(stored)
        weight_map = {}
        for i, part in enumerate((names[:2], names[2:7], names[7:]), start=1):
            shard = f"pytorch_model-{i:05d}-of-00003.bin"
            torch.save({name: stored[name] for name in part}, source / shard)
            weight_map |= dict.fromkeys(part, shard)
        (source / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    else:
        torch.save(stored, source / "pytorch_model.bin")
    done = convert(source, tmp_path / "out")
    found = tensors_of(tmp_path / "out")
    assert found.keys() == merged.keys()
    for name, value in merged.items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name], value)
    assert done.merged == 2
    assert done.left_out == ("model.vision_tower.vision_model.embeddings",)


def test_alpha_comes_from_the_training_arguments(tmp_path: Path) -> None:
    assert convert_module.lora_alpha(tmp_path) == 16
    (tmp_path / "pretrained_config.json").write_text('{"lora_alpha": 32}')
    assert convert_module.lora_alpha(tmp_path) == 32


def test_a_target_in_use_is_left_alone(contact_release: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(CheckpointError, match="is not empty"):
        convert(contact_release, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    (tmp_path / "out" / "mine").unlink()
    convert(contact_release, tmp_path / "out")
    assert (tmp_path / "out" / "config.json").is_file()


def test_missing_shards_and_damaged_files_leave_nothing(
    contact_release: Path, tmp_path: Path, left_in: Callable[[Path], set[str]]
) -> None:
    source = tmp_path / "in"
    pickled_release(contact_release, source)
    first = source / "pytorch_model-00001-of-00002.bin"
    whole = first.read_bytes()
    first.unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of 2 shards: pytorch_model-00001"):
        convert(source, tmp_path / "out")
    first.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="refused"):
        convert(source, tmp_path / "out")
    assert left_in(tmp_path) == {"in", "contact_release"}


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 no zip", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\x02.", b""]
)
def test_damaged_weights_are_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match="refused") as caught:
        WeightSource({tmp_path / "a.bin": None}, step=lambda _: None)
    assert "\n" not in str(caught.value)


def test_a_zip_whose_tensors_are_cut_off(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(1000.0)}, tmp_path / "good.bin")
    with zipfile.ZipFile(tmp_path / "good.bin") as good, zipfile.ZipFile(tmp_path / "bad.bin", "w") as bad:
        for item in good.infolist():
            data = good.read(item)
            bad.writestr(item.filename, data[:64] if item.filename.endswith("data/0") else data)
    with pytest.raises(CheckpointError):
        WeightSource({tmp_path / "bad.bin": None}, step=lambda _: None)


@pytest.mark.parametrize("content", [{}, [torch.ones(2)], {"a": 1}])
def test_files_without_named_tensors(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="tensors"):
        WeightSource({tmp_path / "a.pt": None}, step=lambda _: None)


def test_names_that_are_too_long(contact_release: Path, tmp_path: Path) -> None:
    for source, target in ((tmp_path / ("x" * 300), tmp_path / "out"), (contact_release, tmp_path / ("x" * 300))):
        with pytest.raises(CheckpointError, match="cannot be used"):
            convert(source, target)


def test_weights_without_torch(contact_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="torch is not installed"):
        convert(contact_release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ambiguous_and_foreign_folders(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    with pytest.raises(CheckpointError, match="neither weights nor pickled arrays"):
        convert(source, tmp_path / "out")
    save_file({"base_model.model.x.lora_A.weight": torch.ones(1)}, source / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="only a LoRA adapter"):
        convert(source, tmp_path / "out")
    (source / "adapter_model.safetensors").unlink()
    for name in ("a.pt", "b.pt"):
        torch.save({"w": torch.ones(1)}, source / name)
    with pytest.raises(CheckpointError, match="holds 2 weight files"):
        convert(source, tmp_path / "out")
    with pytest.raises(CheckpointError, match="does not exist"):
        convert(tmp_path / "absent", tmp_path / "out")


def test_a_full_disk_is_seen_before_anything_is_written(
    contact_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_in: Callable[[Path], set[str]]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(convert_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CheckpointError, match="the disk has"):
        convert(contact_release, tmp_path / "out")
    assert left_in(tmp_path) == {"contact_release"}
