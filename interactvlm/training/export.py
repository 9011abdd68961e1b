"""What a run leaves for others: nano's shipped weights, or a whole checkpoint folder in the official layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.checkpoints.lora import merge_lora
from interactvlm.checkpoints.manifest import MANIFEST as HASHES
from interactvlm.checkpoints.manifest import write_manifest
from interactvlm.checkpoints.reader import WeightReader, bytes_of
from interactvlm.checkpoints.safetensors_file import write_file
from interactvlm.errors import CheckpointError
from interactvlm.training.card import model_card, training_state
from interactvlm.training.config import TrainingConfig
from interactvlm.training.saving import WEIGHTS, best_checkpoint, latest_checkpoint
from interactvlm.vlm.nano.manifest import SEED, WEIGHTS_FILE, NanoManifest, trained_parts
from interactvlm.vlm.nano.packages import file_sha256

__all__ = ["export_folder", "export_nano", "export_run"]

_ADDED = {"model.embed_tokens.added": "model.embed_tokens.weight", "lm_head.added": "lm_head.weight"}
_REPLACED = ("model.safetensors.index.json", HASHES, "config.json", "stamps.json")


def export_nano(tensors: Mapping[str, Tensor], out: Path, *, alpha: float, state: str, notice: str, card: str) -> None:
    """Write weights.safetensors (float16), manifest.json and README.md, each moved into place whole.

    Args:
        tensors: what was trained, by official name.
        out: the folder; `interactvlm/assets/nano` to ship them.
        alpha: LoRA's alpha.
        state: what they have been trained on, in words.
        notice: sentence shown beside every answer; "" where none is needed. The model counts as trained either way.
        card: the model card.

    Raises:
        CheckpointError: a value does not fit float16.
    """
    halves = {name: value.half().contiguous() for name, value in tensors.items()}
    for name, value in halves.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(out, f"cannot hold {name}: a value does not fit float16")
    out.mkdir(parents=True, exist_ok=True)
    scratch = out / f".{WEIGHTS_FILE}"
    save_file(halves, scratch)
    scratch.chmod(0o644)
    manifest = NanoManifest(
        trained=True,
        notice=notice,
        weights_sha256=file_sha256(scratch),
        lora_alpha=alpha,
        seed=SEED,
        parts=trained_parts(state),
    )
    scratch.replace(out / WEIGHTS_FILE)
    manifest.write(out)
    (out / "README.md").write_text(card, encoding="utf-8")


def export_folder(tensors: Mapping[str, Tensor], base: Path, out: Path, *, alpha: float, notice: str = "") -> None:
    """Write a checkpoint folder in the official layout: the base with LoRA merged and trained tensors in place.

    One tensor is in memory at a time; each keeps the dtype that the base stores it in.

    Args:
        tensors: what was trained, by official name, LoRA's by PEFT's.
        base: the folder that training began with.
        out: the new folder; must not exist.
        alpha: LoRA's alpha.
        notice: sentence shown beside every answer.

    Raises:
        CheckpointError: `out` exists, or a trained tensor has no place in the base.
    """
    if out.exists():
        raise CheckpointError(out, "exists already")
    reader = WeightReader(base)
    names = list(reader.names())
    placed = {name.split(".lora_")[0] + ".weight" if ".lora_" in name else _ADDED.get(name, name) for name in tensors}
    if homeless := sorted(placed - set(names)):
        raise CheckpointError(base, f"has no place for the trained tensor {homeless[0]}")
    scratch = out.parent / f".{out.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    described = [(name, reader.dtype(name), reader.shape(name)) for name in names]
    digest = write_file(scratch / "model.safetensors", described, _data(reader, names, tensors, alpha))
    for path in base.iterdir():
        if path.suffix in (".safetensors", ".bin") or path.name in _REPLACED:
            continue
        if path.is_dir():
            shutil.copytree(path, scratch / path.name)
        else:
            shutil.copyfile(path, scratch / path.name)
    config: dict[str, Any] = {**read_json_object(base / "config.json"), "trained": True, "notice": notice}
    (scratch / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_manifest(scratch, {"model.safetensors": digest})
    scratch.rename(out)


def _data(reader: WeightReader, names: list[str], trained: Mapping[str, Tensor], alpha: float) -> Iterator[memoryview]:
    for name in names:
        ((_, stored),) = reader.tensors([name])
        value = _updated(name, stored, trained, alpha)
        yield bytes_of(value.to(stored.dtype).contiguous())


def _updated(name: str, stored: Tensor, trained: Mapping[str, Tensor], alpha: float) -> Tensor:
    if name in trained:
        return trained[name]
    stem = name.removesuffix(".weight")
    halves = [f"{stem}.lora_{half}.default.weight" for half in "AB"]
    if halves[0] in trained:
        state = {name: stored.float(), **{half: trained[half].float() for half in halves}}
        return merge_lora(state, alpha=alpha)[name]
    for added, home in _ADDED.items():
        if name == home and added in trained:
            rows = trained[added]
            return torch.cat((stored[: len(stored) - len(rows)].float(), rows.float()))
    return stored


def export_run(config: TrainingConfig, out: Path | None = None) -> tuple[Path, Path]:
    """Export a run's best checkpoint, its newest where none was validated.

    nano becomes a folder of shipped weights, any other base a checkpoint folder in the official layout.

    Args:
        config: the run's.
        out: the folder to write; None: `export-NNNNNNN` in the run's.

    Returns:
        The checkpoint, and the folder.

    Raises:
        CheckpointError: the run has no checkpoint, or `out` cannot be written.
    """
    folder = Path(config.run.folder).expanduser()
    best, newest = best_checkpoint(folder), latest_checkpoint(folder)
    chosen = best[0] if best is not None else newest
    if chosen is None:
        raise CheckpointError(folder, "holds no checkpoint")
    out = out or folder / chosen.name.replace("step", "export")
    tensors = load_file(chosen / WEIGHTS)
    alpha, notice = config.model.lora_alpha, config.run.notice
    if config.model.base == "nano":
        state = training_state(config, int(chosen.name.removeprefix("step-")))
        export_nano(tensors, out, alpha=alpha, state=state, notice=notice, card=model_card(config, chosen))
    else:
        export_folder(tensors, Path(config.model.base).expanduser(), out, alpha=alpha, notice=notice)
    return chosen, out
