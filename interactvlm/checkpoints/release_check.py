"""Checks of one checkpoint folder of this method, each ending in findings that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from interactvlm.checkpoints.companion_check import check_body_model, check_vision_tower
from interactvlm.checkpoints.companions import (
    BODY_FILES,
    BODY_RENDER_FILES,
    VISION_TOWER,
    find_body_folder,
    find_vision_tower,
)
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.findings import Finding
from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.checkpoints.layout import SAM_VIT_H, infer_sam_sizes, official_layout
from interactvlm.checkpoints.peek import tensor_names
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.checkpoints.shards import PICKLED, SAFETENSORS, missing_shards, parse_index
from interactvlm.errors import CheckpointError

__all__ = ["check_release"]

_SHOWN = 5


def check_release(folder: Path) -> tuple[str, list[Finding]]:
    """A title for the checkpoint in `folder`, and everything that was checked. Raises nothing about its content."""
    try:
        config = ReleaseConfig.from_folder(folder)
    except CheckpointError as error:
        return "an InteractVLM checkpoint with an unusable config.json", [_problem(error)]
    checks: tuple[Callable[[Path, ReleaseConfig], Iterator[Finding]], ...] = (_weights, _tokens, _vision, _body)
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check(folder, config)
        except CheckpointError as error:
            findings.append(_problem(error))
    return _title(config), findings


def _problem(error: CheckpointError) -> Finding:
    return Finding("problem", Path(error.folder).name, error.problem)


def _title(config: ReleaseConfig) -> str:
    if config.multiview_channels == 1:
        role = "2D contact masks on the human"
    elif config.has_human_head and config.has_object_head:
        role = "human and object contact (joint)"
    elif config.has_object_head:
        role = "object affordance"
    elif config.has_human_head:
        role = "human contact"
    else:
        role = "no trained contact head"
    trained = "" if config.trained else ", UNTRAINED"
    return f"InteractVLM checkpoint: {role}, {config.hidden_size}-wide language model{trained}"


def _weights(folder: Path, config: ReleaseConfig) -> Iterator[Finding]:
    safe = (folder / SAFETENSORS).is_file() or (folder / f"{SAFETENSORS}.index.json").is_file()
    pickled_index = folder / f"{PICKLED}.index.json"
    if not safe and pickled_index.is_file():
        weight_map = parse_index(read_json_object(pickled_index), source=pickled_index)
        lacking = missing_shards(folder, weight_map)
        for shard in lacking:
            yield Finding("missing", shard, "a shard that the index names; download it into this folder")
    if not safe and (pickled_index.is_file() or (folder / PICKLED).is_file()):
        wrapped = any(".lora_A." in name for name in tensor_names(folder))
        text = (
            f"pickled weights{' with an unmerged LoRA update' if wrapped else ''}; run `interactvlm convert-checkpoint"
        )
        yield Finding("missing", SAFETENSORS, f"{text} {folder} {folder}-safetensors`")
        return
    if not safe:
        yield Finding("missing", SAFETENSORS, "the weights; download all shards and their index into this folder")
        return
    index = folder / f"{SAFETENSORS}.index.json"
    if index.is_file():
        lacking = missing_shards(folder, parse_index(read_json_object(index), source=index))
        for shard in lacking:
            yield Finding("missing", shard, "a shard that the index names; download it into this folder")
        if lacking:
            return
    reader = WeightReader(folder)
    shapes = {name: reader.shape(name) for name in reader.names()}
    if any(".lora_A." in name for name in shapes):
        text = f"an unmerged LoRA update; run `interactvlm convert-checkpoint {folder} {folder}-merged`"
        yield Finding("missing", "weights", text)
        return
    yield from _compare(config, shapes, reader.nbytes)


def _compare(config: ReleaseConfig, shapes: dict[str, tuple[int, ...]], nbytes: int) -> Iterator[Finding]:
    """The tensors against the official layout (the embedded `nano` set has its own)."""
    if config.tokenizer != "sentencepiece":
        yield Finding("ok", "weights", f"{len(shapes)} tensors, {nbytes / 1e9:.2f} GB")
        return
    has_encoder = any(".image_encoder." in name for name in shapes)
    layout = official_layout(config, infer_sam_sizes(shapes) if has_encoder else SAM_VIT_H)
    lacking = layout.missing(shapes)
    for name in lacking[:_SHOWN]:
        yield Finding("missing", name, "a tensor of the official layout")
    if len(lacking) > _SHOWN:
        yield Finding(
            "missing",
            "weights",
            f"{len(lacking) - _SHOWN} more tensors; download the folder again, or convert it again",
        )
    for name, (found, expected) in list(layout.wrong_shapes(shapes).items())[:_SHOWN]:
        yield Finding("problem", name, f"has shape {found}; config.json implies {expected}")
    for name in layout.left_over(shapes)[:_SHOWN]:
        yield Finding("note", name, "a tensor that the official layout does not have; it is not read")
    if not lacking and not layout.wrong_shapes(shapes):
        yield Finding("ok", "weights", f"all {len(layout.required)} tensors, {nbytes / 1e9:.2f} GB")


def _tokens(folder: Path, config: ReleaseConfig) -> Iterator[Finding]:
    name = "tokenizer.model" if config.tokenizer == "sentencepiece" else "tokenizer.json"
    if not (folder / name).is_file():
        yield Finding("missing", name, "the tokenizer; belongs to the same download")
    else:
        yield Finding("ok", name, "the tokenizer")
    if not config.contact_token_ids:
        yield Finding(
            "problem", "config.json", "names no contact token (seg_token_idx, hseg_token_idx, oseg_token_idx)"
        )
    if config.tokenizer != "sentencepiece":
        return
    if not (folder / "added_tokens.json").is_file():
        yield Finding("missing", "added_tokens.json", "the contact tokens' ids; belongs to the same download")
        return
    added = read_json_object(folder / "added_tokens.json")
    for token, index in config.contact_token_ids.items():
        if token not in added:
            yield Finding("missing", token, f"is not in added_tokens.json, config.json gives it the id {index}")
        elif added[token] != index:
            yield Finding("problem", token, f"has id {added[token]} in added_tokens.json and {index} in config.json")
    for token in ("<im_start>", "<im_end>") if config.mm_use_im_start_end else ():
        if token not in added:
            yield Finding("missing", token, "is not in added_tokens.json, but config.json sets mm_use_im_start_end")


def _vision(folder: Path, config: ReleaseConfig) -> Iterator[Finding]:
    if config.vision_tower_dir:
        level = "ok" if (folder / config.vision_tower_dir / "config.json").is_file() else "missing"
        yield Finding(level, config.vision_tower_dir, "the vision tower inside the checkpoint")
        return
    tower = find_vision_tower(folder)
    if tower is None:
        beside = folder.absolute().parent / VISION_TOWER
        yield Finding("missing", VISION_TOWER, f"the CLIP vision tower; put its folder at {beside}")
        return
    faults = [Finding(f.level, f"{tower.name}/{f.subject}", f.text) for f in check_vision_tower(tower)]
    yield from faults
    if not faults:
        yield Finding("ok", VISION_TOWER, f"the CLIP vision tower, at {tower}")


def _body(folder: Path, config: ReleaseConfig) -> Iterator[Finding]:
    if not config.has_human_head or not config.body_topology.startswith("smpl"):
        return
    found = find_body_folder(folder)
    if found is None:
        beside = folder.absolute().parent / "body"
        text = f"the body that human contact lies on ({' or '.join(BODY_FILES)}); put it into {beside}"
        yield Finding("missing", "body", text)
    else:
        yield check_body_model(next(found / name for name in BODY_FILES if (found / name).is_file()))
        rendered = sum((found / name).is_file() for name in BODY_RENDER_FILES)
        if rendered == len(BODY_RENDER_FILES):
            yield Finding("ok", "body renders", "the release's own")
        elif rendered:
            text = f"{rendered} of {len(BODY_RENDER_FILES)} files lie there; they are used only together"
            yield Finding("note", "body renders", text)
