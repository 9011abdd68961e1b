"""Opening what the configuration names as data: our shards, or data sets in their published formats."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from interactvlm.datasets.published import open_published
from interactvlm.datasets.sample import ContactSample
from interactvlm.datasets.shards import read_shards
from interactvlm.errors import InputError
from interactvlm.training.config import DataSource

__all__ = ["geometry_of", "open_source"]


@runtime_checkable
class _WithGeometry(Protocol):
    def geometry(self, index: int) -> dict[str, Any] | None: ...


class _FirstOf(Sequence[ContactSample]):
    """The first `count` samples of a sequence, read when they are asked for."""

    def __init__(self, samples: Sequence[ContactSample], count: int) -> None:
        self._samples = samples
        self._count = min(count, len(samples))

    def __len__(self) -> int:
        return self._count

    def geometry(self, index: int) -> dict[str, Any] | None:
        """The sample's geometry, where the sequence knows it."""
        return geometry_of(self._samples, index)

    def __getitem__(self, index: int) -> ContactSample:  # type: ignore[override]  # slices are never asked for
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._samples[index]


def open_source(source: DataSource) -> Sequence[ContactSample]:
    """The samples of one source. Shards are read as they are drawn, the published sets once into memory.

    Raises:
        InputError: the folder or a file of it is missing or malformed.
        PhotoError: a photo is missing or too large.
    """
    path = Path(source.path).expanduser()
    if not path.exists():
        raise InputError("data.path", f"is {source.path}, which does not exist")
    if source.kind == "shards":
        shards = read_shards(path, source.split)
        return _FirstOf(shards, source.limit) if source.limit else shards
    samples = open_published(source.kind, path, split=source.split)
    return list(islice(samples, source.limit) if source.limit else samples)


def geometry_of(samples: Sequence[ContactSample], index: int) -> dict[str, Any] | None:
    """Masks, camera and poses of a sample (see `datasets.shard_format`); None where its source knows none."""
    return samples.geometry(index) if isinstance(samples, _WithGeometry) else None
