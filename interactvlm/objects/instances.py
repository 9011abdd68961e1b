"""Which instances of a category are trained on and which are held out."""

from __future__ import annotations

import hashlib
from typing import Literal

from interactvlm.errors import InputError
from interactvlm.objects.catalogue import load_catalogue
from interactvlm.objects.categories import CATEGORIES, UNSEEN_CATEGORIES
from interactvlm.objects.generators import GENERATORS

__all__ = ["GENERATED_INSTANCES", "Split", "instances"]

Split = Literal["train", "heldout"]

#: Seeds that count as instances of a generated category.
GENERATED_INSTANCES = 100

_HELD_OUT_SHARE = 0.2


def instances(category: str, split: Split) -> tuple[str, ...]:
    """Sources of a category's instances (`object_for` builds them), catalogue first; the splits share none.

    An instance's split follows from its name alone, so that adding others moves none. Categories in
    `UNSEEN_CATEGORIES` are held out whole.

    Args:
        category: canonical name.
        split: "train" or "heldout".

    Raises:
        InputError: an unknown category or split.
    """
    if category not in CATEGORIES:
        raise InputError("category", f"is {category!r}, which is no canonical category name")
    if split not in ("train", "heldout"):
        raise InputError("split", f"is {split!r}; it is train or heldout")
    sources = [f"catalogue/{entry.id}" for entry in load_catalogue() if entry.category == category]
    if category in GENERATORS:
        sources += [f"generator/{category}/{seed}" for seed in range(GENERATED_INSTANCES)]
    unseen = category in UNSEEN_CATEGORIES
    return tuple(source for source in sources if (unseen or _held_out(source)) == (split == "heldout"))


def _held_out(source: str) -> bool:
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "big") < _HELD_OUT_SHARE * 2**32
