"""What the configuration names, opened: the table and its encoders, or the embedded catalogue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import CancelledError
from interactvlm.object_search import load_retriever
from interactvlm.retrieval.clouds import ColouredCloud
from interactvlm.retrieval.table_retriever import TableRetriever
from services.retrieval.config import RetrievalConfig
from services.retrieval.tables import Tables

__all__ = ["EmbedShapes", "Opened", "open_tables"]

_log = logging.getLogger(__name__)

EmbedShapes = Callable[[Sequence[ColouredCloud]], NDArray[np.float32]]


class Preparation:
    """Building an index takes minutes: a line in the log about every tenth of it, and an end when it is given up."""

    def __init__(self) -> None:
        self._tenth = -1
        self._given_up = False

    def give_up(self) -> None:
        """End what is being prepared, at its next step."""
        self._given_up = True

    def __call__(self, what: str, done: int, total: int) -> None:
        """Called between steps.

        Raises:
            CancelledError: it was given up.
        """
        if self._given_up:
            raise CancelledError(f"{what} was given up")
        tenth = 10 * done // total if total else 0
        if tenth != self._tenth:
            self._tenth = tenth
            _log.info("preparing", extra={"fields": {"what": what, "done": done, "of": total}})


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What a retrieval server works with.

    Attributes:
        tables: what is searched.
        embed_shapes: makes the embeddings of shapes to add; None where nothing can be added.
        preparation: of what queries that show something need.
    """

    tables: Tables
    embed_shapes: EmbedShapes | None
    preparation: Preparation = field(default_factory=Preparation)


def open_tables(config: RetrievalConfig) -> Opened:
    """Open what `config` names, and load what queries by words or encoders need; raises as `load_retriever` does."""
    preparation = Preparation()
    folder, shapes, queries = (
        Path(name) if name else None for name in (config.table, config.shape_encoder, config.query_encoder)
    )
    shared = load_retriever(config, table=folder, shape_encoder=shapes, query_encoder=queries, progress=preparation)
    shared.warm()
    # Owners' tables have no encoders: queries are encoded once, by the shared table's.
    tables = Tables(shared, folder=folder, open_table=TableRetriever, most_open=config.open_owners)
    embed = shared.shape_vectors if isinstance(shared, TableRetriever) and shapes is not None else None
    return Opened(tables, embed, preparation)
