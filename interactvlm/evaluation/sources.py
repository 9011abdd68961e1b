"""What an evaluation runs on: our shards, a published data set, or synthetic scenes made on first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample
from interactvlm.errors import InputError

__all__ = ["KINDS", "SYNTHETIC", "open_split", "synthetic_scenes"]

KINDS = ("shards", "damon", "piad", "lemon", "pico")
"""How a folder is read; "lemon" is 3DIR."""

SYNTHETIC = {"heldout": 1000, "unseen": 200, "train": 2000}
"""Scenes of each split that an evaluation without data of its own is run on."""

_SHARD = 50


def open_split(
    kind: str,
    folder: Path,
    split: str,
    *,
    limit: int = 0,
    photos: Path | None = None,
    body: BodyTemplate | None = None,
    missing: Callable[[str], None] | None = None,
) -> Sequence[ContactSample]:
    """The samples of one split.

    Args:
        kind: one of KINDS.
        folder: where they lie.
        split: "heldout", "test" ...
        limit: only the first so many, 0 = all.
        photos: folder of DAMON's photos, where it is not the labels' own.
        body: the user's body; PICO's files may name its faces.
        missing: told of photos that are not there (DAMON, PIAD); None: an error.

    Raises:
        InputError: the kind is unknown, the limit negative, or the folder does not hold such a split.
    """
    if kind not in KINDS:
        raise InputError("kind", f"is {kind!r}; known: {', '.join(KINDS)}")
    if limit < 0:
        raise InputError("limit", f"is {limit}; it cannot be negative")
    if kind == "shards":
        from interactvlm.datasets.shards import read_shards

        shards = read_shards(folder, split)
        return shards[:limit] if limit else shards
    from interactvlm.datasets.published import open_published

    samples = open_published(kind, folder, split=split, photos=photos, body=body, missing=missing)
    return list(islice(samples, limit or None))


def synthetic_scenes(
    folder: Path, split: str, *, scenes: int = 0, progress: Callable[[str, int, int], None] | None = None
) -> Sequence[ContactSample]:
    """Synthetic scenes in the cache, made by all cores on first use; later calls find them there.

    Args:
        folder: of the shards.
        split: one of SYNTHETIC.
        scenes: how many; 0 = as in SYNTHETIC.
        progress: called with (what, scenes done, in all) while they are made.

    Raises:
        InputError: there is no such split.
    """
    from interactvlm.datasets.shards import shard_path
    from interactvlm.synthesis.generate import Order, generate

    if split not in SYNTHETIC:
        raise InputError("split", f"is {split!r}; synthetic scenes have {', '.join(SYNTHETIC)}")
    count = scenes or SYNTHETIC[split]
    wanted = Order(scenes=-(-count // _SHARD) * _SHARD, seed=0, split=split)
    if any(not shard_path(folder, split, number).exists() for number in range(wanted.shards)):
        done = 0

        def tell(made: int) -> None:
            nonlocal done
            done += made
            if progress is not None:
                progress(f"making {split} scenes", done, wanted.scenes)

        generate(wanted, folder, workers=os.cpu_count() or 1, progress=tell)
    return open_split("shards", folder, split, limit=count)
