"""What every interaction template declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from interactvlm.synthesis.stage import Stage

__all__ = ["Template"]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """One way of dealing with things.

    Attributes:
        name: "hold", "sit" ...; the tag "template" of its scenes.
        share: how often it is played, relative to the others.
        categories: of the main object; () where there is none.
        needs: anchors that the main object must have.
        play: poses the person and places the props; raises `Missed` where the dice do not work out.
        touching: prop (by place) -> groups of body parts; of each group at least one part must touch the prop.
        only: prop -> the parts that may touch it; missing: any.
        deepest: metres that the body may be inside a prop.
        hands: whether it is played in left, right and two-handed versions ("left", "right", "both").
    """

    name: str
    share: float
    categories: tuple[str, ...]
    play: Callable[[Stage, str, str], None]
    needs: tuple[str, ...] = ()
    touching: Callable[[str], Mapping[int, tuple[tuple[str, ...], ...]]] = lambda hand: {}
    only: Callable[[str], Mapping[int, tuple[str, ...]]] = lambda hand: {}
    deepest: float = 0.02
    hands: tuple[str, ...] = ("none",)
