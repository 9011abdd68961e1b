"""One live checkpoint of the localization stage, and what it computes for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate
from interactvlm.config import Settings
from interactvlm.errors import CancelledError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.loading import load_localizer, open_checkpoint
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.stages import CallContext
from interactvlm.types import ModelIdentity, Task, VertexContact

__all__ = ["Item", "LocalizationModel", "locate_batch"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LocalizationModel:
    """Phi, Theta, Omega and the lift of one checkpoint.

    Attributes:
        identity: which weights these are.
        localizer: the loaded model.
        body: what its human contacts lie on.
        device: where it computes.
        preload_encoder: read the image encoder while warming up.
    """

    identity: ModelIdentity
    localizer: ContactLocalizer
    body: BodyTemplate
    device: str
    preload_encoder: bool

    @classmethod
    def load(cls, settings: Settings, *, preload_encoder: bool = False) -> LocalizationModel:
        """Load what `settings` names; raises as `interactvlm.loading` does."""
        opened = open_checkpoint(settings)
        localizer, body = load_localizer(opened)
        return cls(opened.identity(), localizer, body, str(opened.device), preload_encoder)

    @property
    def channels(self) -> int:
        """Length of its contact embeddings."""
        return self.localizer.config.out_dim

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks it has heads for."""
        config = self.localizer.config
        body = (Task.BINARY, Task.SEMANTIC, Task.SCENE) if config.has_human_head else ()
        return (*body, Task.OBJECT) if config.has_object_head else body

    def warm_up(self) -> None:
        """Prepare the body and place one embedding on it; the image encoder stays on disk if the body is cached."""
        if self.preload_encoder:
            _ = self.localizer.encoder
        if self.localizer.config.has_human_head:
            token = next(iter(self.localizer.config.contact_token_ids))
            self.localizer.locate_body(np.zeros((1, self.channels), dtype=np.float32), [token])


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One caller's embeddings for one surface.

    Attributes:
        model: the checkpoint the embeddings came from.
        surface: an object; None for the checkpoint's body.
        embeddings: float32 [Q, C].
        tokens: contact token of each.
        context: its deadline and whether its caller has gone.
    """

    model: LocalizationModel
    surface: Mesh | PointCloud | None
    embeddings: NDArray[np.float32]
    tokens: tuple[str, ...]
    context: CallContext


Contacts = tuple[VertexContact, ...]


def locate_batch(items: Sequence[Item]) -> list[Contacts | BaseException]:
    """Place many callers' embeddings together, on the device's thread; those of one surface are one call of the model.

    An error is raised, for the batcher to find out whose it is, unless a single item caused it.
    """
    results: dict[int, Contacts | BaseException] = {}
    groups: dict[tuple[int, str], list[int]] = {}
    for index, item in enumerate(items):
        surface = "" if item.surface is None else item.surface.content_hash
        groups.setdefault((id(item.model), surface), []).append(index)
    for indices in groups.values():
        try:
            results.update(zip(indices, _locate_group([items[i] for i in indices]), strict=True))
        except CancelledError as error:
            results.update(dict.fromkeys(indices, error))
        except Exception as error:
            if len(items) > 1:
                raise
            results[indices[0]] = error
    return [results[i] for i in range(len(items))]


def _locate_group(items: Sequence[Item]) -> list[Contacts]:
    embeddings = np.concatenate([item.embeddings for item in items])
    tokens = [token for item in items for token in item.tokens]
    localizer, surface = items[0].model.localizer, items[0].surface

    def unwanted() -> bool:
        return all(item.context.should_stop() for item in items)

    if surface is None:
        placed = localizer.locate_body(embeddings, tokens, should_stop=unwanted)
    else:
        placed = localizer.locate_object(surface, embeddings, tokens, should_stop=unwanted)
    remaining = iter(placed)
    return [tuple(next(remaining) for _ in item.tokens) for item in items]
