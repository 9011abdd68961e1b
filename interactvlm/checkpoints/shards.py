"""Which files of a folder hold which tensors: `X.index.json`, checked, or the single file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.errors import CheckpointError

__all__ = ["PICKLED", "SAFETENSORS", "missing_shards", "parse_index", "read_index", "weight_files"]

#: Stems of the weights file of a Hugging Face folder: safe, and pickled.
SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"


def parse_index(raw: dict[str, Any], *, source: Path) -> dict[str, str]:
    """Tensor name -> shard file name, of an index that has been read.

    A shard is a plain file name in the index's own folder: no separators, so nothing outside the folder can be named.
    (The file itself may be a symbolic link, as in hub caches; links are the folder owner's choice, names are not.)

    Raises:
        CheckpointError: `weight_map` is missing, empty or malformed, or names a file outside the folder.
    """
    weight_map = raw.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(source, 'has no "weight_map" from tensor names to shards')
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_plain_name(shard):
            raise CheckpointError(
                source, f"places {name} in {shard!r}; a shard must be a file name in the index's own folder"
            )
    return weight_map


def _is_plain_name(name: str) -> bool:
    return (
        name not in ("", ".", "..")
        and "\0" not in name
        and PurePosixPath(name).name == name
        and PureWindowsPath(name).name == name
    )


def read_index(index: Path) -> dict[str, str]:
    """Tensor name -> shard file name; every shard exists.

    Raises:
        CheckpointError: the index is malformed, escapes its folder, or names shards that are not there.
    """
    weight_map = parse_index(read_json_object(index), source=index)
    missing = missing_shards(index.parent, weight_map)
    if missing:
        count = len(set(weight_map.values()))
        raise CheckpointError(index.parent, f"lacks {len(missing)} of {count} shards: {', '.join(missing)}")
    return weight_map


def missing_shards(folder: Path, weight_map: dict[str, str]) -> list[str]:
    """Shards of the map that are not regular files (or links to such) in the folder, sorted."""
    found: list[str] = []
    for shard in sorted(set(weight_map.values())):
        try:
            present = (folder / shard).is_file()
        except (OSError, RuntimeError):  # RuntimeError: a loop of links (Python < 3.13)
            present = False
        if not present:
            found.append(shard)
    return found


def weight_files(folder: Path, stem: str = SAFETENSORS) -> dict[Path, frozenset[str] | None] | None:
    """Weight files of a folder, each with the tensor names the index takes from it (None: all).

    Args:
        folder: the checkpoint.
        stem: SAFETENSORS or PICKLED.

    Returns:
        None when the folder has neither the single file nor an index.

    Raises:
        CheckpointError: as `read_index`.
    """
    index = folder / f"{stem}.index.json"
    if index.exists() or index.is_symlink():
        names: dict[Path, set[str]] = {}
        for name, shard in read_index(index).items():
            names.setdefault(folder / shard, set()).add(name)
        return {path: frozenset(taken) for path, taken in sorted(names.items())}
    single = folder / stem
    if single.exists() or single.is_symlink():
        return {single: None}
    return None
