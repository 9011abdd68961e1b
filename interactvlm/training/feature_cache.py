"""Frozen photo features on disk: the vision tower sees every photo once, whatever the number of epochs and runs.

Two files: `features.bin`, records of one size (float16) end to end, and `index.txt`, a line per record with its key. A
record counts once its line is whole, so a process that is killed at any point leaves a usable cache; whoever writes
holds the lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.errors import InputError

__all__ = ["FeatureCache", "feature_key"]

#: Records computed and written together: what a killed process loses at most.
_AT_ONCE = 16


def feature_key(*parts: bytes | str) -> str:
    """The key of whatever decides a record: 32 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


class FeatureCache:
    """A folder of features of one shape.

    Args:
        folder: created when missing; one per encoder and shape.
        shape: of one record.

    Raises:
        InputError: the folder holds records of another size.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._bytes = 2 * int(np.prod(shape))
        folder.mkdir(parents=True, exist_ok=True)
        self._data, self._index, self._lock = folder / "features.bin", folder / "index.txt", folder / "lock"
        self._rows: dict[str, int] = {}
        self._read = 0  # characters of the index that are known
        self._refresh()
        if self._rows and self._data.stat().st_size < self._bytes * len(self._rows):
            raise InputError(str(folder), f"holds features of another size than {list(shape)}; remove it")

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, keys: Sequence[str], compute: Callable[[list[int]], Tensor | NDArray[np.floating]]) -> list[Tensor]:
        """Features by key, float16, those that are missing computed and kept.

        Args:
            keys: made by `feature_key`.
            compute: from indices into `keys` to their features, [n, *shape].
        """
        if any(key not in self._rows for key in keys):
            self._refresh()
        missing = [i for i, key in enumerate(keys) if key not in self._rows]
        for first in range(0, len(missing), _AT_ONCE):
            part = missing[first : first + _AT_ONCE]
            made = torch.as_tensor(compute(part)).detach().to("cpu", torch.float16).numpy()
            self._append([keys[i] for i in part], made)
        return [self._record(key) for key in keys]

    def _record(self, key: str) -> Tensor:
        with self._data.open("rb", buffering=0) as file:
            file.seek(self._rows[key] * self._bytes)
            record = np.frombuffer(bytearray(file.read(self._bytes)), np.float16)
        return torch.from_numpy(record.reshape(self._shape))

    def _append(self, keys: Sequence[str], records: NDArray[np.float16]) -> None:
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._refresh()
            with self._data.open("r+b" if self._data.exists() else "w+b") as data, self._index.open("a") as index:
                if self._index.stat().st_size > self._read:  # a line that was cut off
                    index.truncate(self._read)
                data.seek(self._bytes * len(self._rows))
                new = [i for i, key in enumerate(keys) if key not in self._rows and keys.index(key) == i]
                for i in new:
                    data.write(np.ascontiguousarray(records[i]).tobytes())
                data.flush()
                index.write("".join(f"{keys[i]}\n" for i in new))
            self._refresh()

    def _refresh(self) -> None:
        """Learn of records that this or another process has added."""
        if not self._index.exists():
            return
        with self._index.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        for line in whole.decode("ascii", "replace").splitlines():
            if not re.fullmatch(r"[0-9a-f]{32}", line):
                raise InputError(str(self._index), "is damaged; remove its folder")
            self._rows[line] = len(self._rows)
        self._read += len(whole)
