"""What the configuration names, opened: the table and its encoders, or the embedded catalogue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactvlm.object_search import load_retriever
from interactvlm.retrieval.clouds import ColouredCloud
from interactvlm.retrieval.table_retriever import TableRetriever
from services.retrieval.config import RetrievalConfig
from services.retrieval.tables import Tables

__all__ = ["EmbedShapes", "Opened", "open_tables"]

_log = logging.getLogger(__name__)

EmbedShapes = Callable[[Sequence[ColouredCloud]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What a retrieval server works with.

    Attributes:
        tables: what is searched.
        embed_shapes: makes the embeddings of shapes to add; None where nothing can be added.
    """

    tables: Tables
    embed_shapes: EmbedShapes | None


class _Told:
    """Building an index takes minutes: a line in the log about every tenth of it."""

    def __init__(self) -> None:
        self._tenth = -1

    def __call__(self, what: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth != self._tenth:
            self._tenth = tenth
            _log.info("preparing", extra={"fields": {"what": what, "done": done, "of": total}})


def open_tables(config: RetrievalConfig) -> Opened:
    """Open what `config` names, and load what the first query would wait for; raises as `load_retriever` does."""
    folder, shapes, queries = (
        Path(name) if name else None for name in (config.table, config.shape_encoder, config.query_encoder)
    )
    shared = load_retriever(config, table=folder, shape_encoder=shapes, query_encoder=queries, progress=_Told())
    shared.warm()
    # Owners' tables have no encoders: queries are encoded once, by the shared table's.
    tables = Tables(shared, folder=folder, open_table=TableRetriever, most_open=config.open_owners)
    embed = shared.shape_vectors if isinstance(shared, TableRetriever) and shapes is not None else None
    return Opened(tables, embed)
