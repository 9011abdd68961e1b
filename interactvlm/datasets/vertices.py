"""Contact on a surface's vertices as data sets write it: ids, or one number a vertex."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError

__all__ = ["ids_in_contact", "vertex_ids"]


def vertex_ids(values: Any, count: int, *, source: str) -> NDArray[np.int32]:
    """Vertex ids as a data set gives them: a list or array of whole numbers, in any order, repeats allowed.

    Args:
        values: the ids.
        count: vertices of the surface.
        source: named in errors.

    Returns:
        int32, ascending, each once.

    Raises:
        InputError: something is no whole number, or no vertex of the surface.
    """
    try:
        ids = np.asarray(values)
    except ValueError:  # ragged
        ids = np.empty((0, 2))
    if ids.size == 0 and ids.ndim <= 1:
        return np.empty(0, dtype=np.int32)
    whole = ids.dtype.kind in "iu" or (ids.dtype.kind == "f" and bool((ids == np.floor(ids)).all()))
    if ids.ndim != 1 or not whole:
        raise InputError(source, f"must be a list of vertex ids, not {ids.dtype} of shape {list(ids.shape)}")
    low, high = ids.min(), ids.max()
    if low < 0 or high >= count:
        raise InputError(source, f"names vertex {int(low if low < 0 else high)}; the surface has 0 to {count - 1}")
    return np.unique(ids).astype(np.int32)


def ids_in_contact(values: Any, count: int, *, source: str) -> NDArray[np.int32]:
    """Ids of the vertices whose label is above zero.

    Args:
        values: one number in [0, 1] a vertex, [count] or [1, count].
        count: vertices of the surface.
        source: named in errors.

    Raises:
        InputError: another shape, or values that are no labels.
    """
    try:
        labels = np.asarray(values)
    except ValueError:
        labels = np.empty(0)
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.ravel()
    if labels.shape != (count,) or labels.dtype.kind not in "biuf":
        raise InputError(source, f"must be numbers [{count}], not {labels.dtype} of shape {list(labels.shape)}")
    if not (np.isfinite(labels).all() and labels.min() >= 0 and labels.max() <= 1):
        raise InputError(source, "must lie between 0 and 1")
    return np.flatnonzero(labels > 0).astype(np.int32)
