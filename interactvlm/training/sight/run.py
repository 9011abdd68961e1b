"""The first phase: the projector learns what photos show and who touches what, before the language model hears of it.

A step costs a tenth of a joint one, and every photo teaches through all its cells and all its questions at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from interactvlm.training.config import PhasePart
from interactvlm.training.phase import Phase, StepLoss
from interactvlm.training.sight.batches import SightBatches
from interactvlm.training.sight.heads import SightHeads
from interactvlm.vlm.projector import BlockProjector

__all__ = ["sight_phase"]


def sight_phase(
    *,
    projector: BlockProjector,
    heads: SightHeads,
    batches: SightBatches,
    held_out: SightBatches | None,
    part: PhasePart,
    folder: Path,
    precision: str,
    save_every: int,
    writes: bool,
    recipe: str,
) -> Phase:
    """The phase in `folder`.

    Args:
        projector: what is trained, in float32.
        heads: read from it; trained along and thrown away.
        batches: to learn from.
        held_out: to be scored on; None: no scores.
        part, folder, precision, save_every, writes, recipe: see `Phase`.
    """

    def loss(step: int) -> StepLoss:
        batch = batches.draw(step)
        losses = heads(projector, batch)
        parts = {name: getattr(losses, name).item() for name in ("cells", "tokens", "contacts")}
        return StepLoss(losses.total, parts, len(batch.names))

    scores: Callable[[], dict[str, float]] | None = None
    if held_out is not None:
        some = held_out

        def scores() -> dict[str, float]:
            return heads.scores(projector, some.first(part.held_out))

    return Phase(
        title="learning to see",
        parameters={
            **{f"projector.{name}": parameter for name, parameter in projector.named_parameters()},
            **{f"heads.{name}": parameter for name, parameter in heads.named_parameters()},
        },
        loss=loss,
        part=part,
        folder=folder,
        precision=precision,
        save_every=save_every,
        writes=writes,
        recipe=recipe,
        scores=scores,
    )
