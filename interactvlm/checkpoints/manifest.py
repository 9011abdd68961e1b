"""What exactly a folder holds: a SHA256SUMS file beside the weights, and one hash that names the checkpoint.

The manifest has the format of the `sha256sum` command, so `sha256sum -c SHA256SUMS` checks it without us.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_cache_path

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.checkpoints.shards import SAFETENSORS, weight_files
from interactvlm.errors import CheckpointError

__all__ = ["MANIFEST", "checkpoint_hash", "read_manifest", "remember_hashes", "verify_manifest", "write_manifest"]

MANIFEST = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\\0]+)")
#: Files that decide an answer besides the weights; a README does not.
_BEHAVIOUR = (
    f"{SAFETENSORS}.index.json",
    "config.json",
    "tokenizer.model",
    "tokenizer.json",
    "added_tokens.json",
    "tokenizer_config.json",
)


def write_manifest(folder: Path, hashes: Mapping[str, str] | None = None) -> Path:
    """Write `folder/SHA256SUMS` over every file directly in the folder, and return its path.

    Args:
        folder: the checkpoint.
        hashes: hashes that are known already, by file name; the other files are read.
    """
    known = hashes or {}
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)
    lines = [f"{known.get(name) or _sha256(folder / name)}  {name}\n" for name in names]
    _write_atomically(folder / MANIFEST, "".join(lines))
    return folder / MANIFEST


def read_manifest(folder: Path) -> dict[str, str]:
    """File name -> sha256 (hex) from `folder/SHA256SUMS`.

    Raises:
        CheckpointError: there is none, or a line is not "hash  name".
    """
    path = folder / MANIFEST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(path, f"cannot be read ({error})") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise CheckpointError(path, f'line {number} is not "sha256  file name"')
        found[match[2]] = match[1]
    return found


def verify_manifest(folder: Path) -> int:
    """Read every file that the manifest names and compare; returns how many there are.

    Raises:
        CheckpointError: a file is missing or differs.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.items():
        if not (folder / name).is_file():
            raise CheckpointError(folder, f"lacks {name}, which {MANIFEST} names")
        if _sha256(folder / name) != expected:
            raise CheckpointError(folder / name, f"is not the file that {MANIFEST} describes: its sha256 differs")
    return len(manifest)


def checkpoint_hash(folder: Path, *, cache: Path | None = None) -> str:
    """One sha256 (hex) that names a checkpoint: over its weights, config and tokenizer files.

    Reading 26 GB takes a minute, so each file's hash is kept in the cache, keyed by path, size and modification time.

    Args:
        folder: a checkpoint with safetensors weights.
        cache: folder of the sidecar; by default the user's cache folder. A cache that cannot be written is no error.

    Raises:
        CheckpointError: the folder holds no usable weights.
    """
    files = weight_files(folder, SAFETENSORS)
    if files is None:
        raise CheckpointError(folder, "holds no model.safetensors; see `interactvlm doctor`")
    paths = [*files, *(folder / name for name in _BEHAVIOUR if (folder / name).is_file())]
    known = _load_sidecar(folder, cache)
    hashes: dict[str, str] = {}
    changed = False
    for path in paths:
        stamp = _stamp(path)
        entry = known.get(path.name)
        if isinstance(entry, list) and entry[:2] == stamp and len(entry) == 3 and isinstance(entry[2], str):
            hashes[path.name] = entry[2]
        else:
            hashes[path.name] = _sha256(path)
            changed = True
    if changed:
        remember_hashes(folder, hashes, cache=cache)
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def remember_hashes(folder: Path, hashes: Mapping[str, str], *, cache: Path | None = None) -> None:
    """Keep hashes of files as they are now, by file name, for later calls of `checkpoint_hash`."""
    sidecar = _sidecar(folder, cache)
    entries = {name: [*_stamp(folder / name), digest] for name, digest in hashes.items()}
    try:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(sidecar, json.dumps({"folder": str(folder.resolve()), "files": entries}))
    except OSError:
        return  # a read-only home costs time at the next start, nothing else


def _sidecar(folder: Path, cache: Path | None) -> Path:
    root = cache or user_cache_path("interactvlm")
    return root / "hashes" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json"


def _load_sidecar(folder: Path, cache: Path | None) -> dict[str, object]:
    try:
        files = read_json_object(_sidecar(folder, cache)).get("files")
    except CheckpointError:  # none yet, or damaged: hash again
        return {}
    return files if isinstance(files, dict) else {}


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error})") from None


def _write_atomically(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
