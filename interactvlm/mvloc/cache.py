"""View embeddings on disk: encoded once, by content, for every process of a machine.

One safetensors file per entry. Writers build a temporary file and rename it, so a reader sees a whole entry or none;
two processes that miss at once both compute, and the later rename replaces an equal file. A file that is torn,
foreign or damaged fails its checksum and is rebuilt. Entries are touched when read; when their bytes exceed the
bound, those read longest ago go first.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from interactvlm.checkpoints.reader import bytes_of

if TYPE_CHECKING:
    from interactvlm.checkpoints.reader import WeightReader

__all__ = ["DEFAULT_MAX_BYTES", "EmbeddingCache", "default_cache_dir", "tensors_identity"]

#: 4 GiB: some 500 objects in bfloat16.
DEFAULT_MAX_BYTES = 4 * 2**30
#: A temporary file this old (seconds) was left by a process that died.
_ABANDONED_AFTER = 3600.0
_log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """Where view embeddings are kept unless a folder is given."""
    return Path(platformdirs.user_cache_dir("interactvlm")) / "views"


class EmbeddingCache:
    """A bounded folder of tensors by key.

    Args:
        folder: created when first written to.
        max_bytes: bound on the entries' total size; the entry just written always stays.
    """

    def __init__(self, folder: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def get_or_compute(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """The entry of `key`, computed and stored when it is absent or damaged.

        A folder that cannot be written costs the next call's time, not this call's answer: it is logged.

        Args:
            key: lower-case hex digest.
            compute: makes the tensor; its result is returned on the CPU.
        """
        if not re.fullmatch(r"[0-9a-f]{16,128}", key):
            raise ValueError(f"cache keys are hex digests, not {key!r}")
        found = self._read(key)
        if found is not None:
            return found
        tensor = compute().detach().cpu().contiguous()
        try:
            self._write(key, tensor)
            self._evict(keep=self._path(key))
        except OSError as error:
            _log.warning("view embeddings are not kept: %s cannot be written (%s)", self.folder, error)
        return tensor

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _read(self, key: str) -> Tensor | None:
        path = self._path(key)
        try:
            content = load(path.read_bytes())
            if content["crc32"].item() == _checksum(key, content["embeddings"]):
                os.utime(path)
                return content["embeddings"]
        except OSError:  # absent, or unreadable, which the attempt to write reports
            return None
        except (SafetensorError, KeyError, RuntimeError) as error:
            _log.debug("%s", error)
        _log.warning("%s is damaged and will be rebuilt", path)
        return None

    def _write(self, key: str, tensor: Tensor) -> None:
        checksum = torch.tensor(_checksum(key, tensor))
        _write_whole(self._path(key), save({"embeddings": tensor, "crc32": checksum}))

    def _evict(self, *, keep: Path) -> None:
        """Remove what was read longest ago until the bound holds. Another process may remove the same files."""
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.suffix == ".safetensors":
                entries.append((status.st_mtime, status.st_size, path))
            elif path.suffix == ".tmp" and time.time() - status.st_mtime > _ABANDONED_AFTER:
                path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.max_bytes:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size


def tensors_identity(reader: WeightReader, prefix: str, folder: Path) -> str:
    """Sha256 over some tensors of a checkpoint, hex: checkpoints that share the frozen encoder share its embeddings.

    Hashing the published encoder reads 1.2 GB, so the result is kept in `folder` under the weight files' paths,
    sizes and times.

    Args:
        reader: the checkpoint.
        prefix: what the tensors' names begin with.
        folder: the cache's folder.
    """
    files = sorted(reader.folder.glob("*.safetensors"))
    stamps = [prefix] + [f"{path.resolve()}|{path.stat().st_size}|{path.stat().st_mtime_ns}" for path in files]
    note = folder / f"{hashlib.sha256(chr(10).join(stamps).encode()).hexdigest()}.identity"
    try:
        known = note.read_text(encoding="ascii")
        if re.fullmatch(r"[0-9a-f]{64}", known):
            return known
    except (OSError, UnicodeDecodeError):
        pass
    digest = hashlib.sha256()
    names = [name for name in reader.names() if name.startswith(prefix)]
    for name in names:
        for _, tensor in reader.tensors([name]):
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            digest.update(bytes_of(tensor))
    try:
        _write_whole(note, digest.hexdigest().encode("ascii"))
    except OSError as error:
        _log.warning("the hash of %s* is not kept: %s cannot be written (%s)", prefix, folder, error)
    return digest.hexdigest()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _checksum(key: str, tensor: Tensor) -> int:
    return zlib.crc32(bytes_of(tensor), zlib.crc32(f"{key}|{tensor.dtype}|{tuple(tensor.shape)}".encode()))
