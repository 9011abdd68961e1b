"""From settings to a retriever: the embedded catalogue with nano's image encoder, or a table of the user's own.

This module knows the stage `retrieval` and the encoder of `vlm`, which do not know each other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from interactvlm.config import Settings
from interactvlm.errors import InputError

if TYPE_CHECKING:
    from interactvlm.retrieval.retriever import Retriever
    from interactvlm.retrieval.view_features import PatchFeatures

__all__ = ["load_retriever"]


def load_retriever(
    settings: Settings,
    *,
    table: Path | None = None,
    shape_encoder: Path | None = None,
    query_encoder: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Retriever:
    """The retriever that these name; encoders are loaded by the first query that needs them (or `warm`).

    Args:
        settings: device and cache.
        table: folder of a table of the user's own; None: the embedded catalogue.
        shape_encoder: OpenShape's point encoder, converted; of a table only, for queries by shape.
        query_encoder: CLIP, converted; of a table only, for queries by text and photo.
        progress: told (what, done, in all) while the catalogue's index is built.

    Raises:
        InputError: the folder holds no table, an encoder is named without a table, or the device does not exist.
        MissingDependencyError: an optional package is not installed.
    """
    from interactvlm.loading import placement

    if table is not None:
        from interactvlm.retrieval.table_retriever import TableRetriever

        return TableRetriever(
            table, shape_encoder=shape_encoder, query_encoder=query_encoder, device=placement(settings)[0]
        )
    if shape_encoder is not None or query_encoder is not None:
        raise InputError("encoder", "belongs to a table of your own; the embedded catalogue has its own encoders")
    from interactvlm.retrieval.catalogue_retriever import CatalogueRetriever

    def features() -> PatchFeatures:
        from interactvlm.vlm.nano.patches import load_nano_patches

        return load_nano_patches(placement(settings)[0])

    return CatalogueRetriever(settings.cache_path / "retrieval", features, progress=progress)
